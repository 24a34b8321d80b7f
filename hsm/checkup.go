package hsm

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"slices"
	"time"

	"sallyport/hsm/wire"
)

// Examine returns what the token says of itself, and how its sessions open. It
// waits for the open timeout at most.
func (t *Token) Examine(ctx context.Context) (e wire.Examination, err error) {
	return e, t.ask(ctx, wire.Examine, &e)
}

// Secrets lists the token's secret keys, each tried. It waits for the open
// timeout at most.
func (t *Token) Secrets(ctx context.Context) (l wire.SecretList, err error) {
	return l, t.ask(ctx, wire.Secrets, &l)
}

// ask asks one of the token's signer processes, or waits for one. A process that
// does not answer is replaced: it would answer no other such question either.
func (t *Token) ask(ctx context.Context, kind wire.Kind, result any) error {
	ctx, cancel := context.WithTimeout(ctx, t.config.OpenTimeout)
	defer cancel()
	l := laneRSA // the one that keeps nothing from the other
	s, err := t.queue.take(ctx, l, nil)
	if err != nil {
		return err
	}
	defer t.queue.give(s, l)
	err = s.process.ask(ctx, kind, nil, result)
	if errors.Is(err, context.DeadlineExceeded) {
		err = problem(ErrTimeout, "", "the token did not answer within %s", t.config.OpenTimeout)
		t.queue.remove(s)
		s.process.condemn(err)
	}
	return outward(err)
}

// Whole waits until all the token's signer processes are up, and returns why
// one of them is not if its first try failed.
func (t *Token) Whole(ctx context.Context) error {
	for {
		t.mu.Lock()
		state, changed, reason := t.state, t.changed, t.reason
		t.mu.Unlock()
		switch {
		case state == Up:
			return nil
		case reason != nil && !errors.Is(reason, errLate):
			return reason
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Sessions are how many signatures the token's processes can have under way now.
func (t *Token) Sessions() int {
	_, _, n := t.queue.loads()
	return n
}

// Ability is what a private key of a token can do.
type Ability struct {
	Info    wire.Key
	URI     string
	Key     *Key                  // nil: Err says why it cannot sign
	Schemes []tls.SignatureScheme // that it signs with, each tried and verified
	Missing []tls.SignatureScheme // that the token refuses
	Scheme  tls.SignatureScheme   // what it is asked for most: in TLS 1.3, or in 1.2 if it lacks that
	TLS13   bool                  // it has what TLS 1.3 needs (RFC 8446 §4.2.3)
	Took    time.Duration         // a signature, on average
	Err     error
}

// Key makes a key of one in the token's inventory, on this token alone. An error
// says why it cannot sign.
func (t *Token) Key(info wire.Key) (*Key, error) {
	if info.Reason != "" {
		return nil, problem(ErrUnfit, "", "cannot sign here: %s", info.Reason)
	}
	if info.Bare && len(info.Public) == 0 {
		return nil, problem(ErrUnfit, "", "its public key is not on the token, and no certificate for it is known")
	}
	k, err := newKey(t.Inventory().Token, info)
	if err != nil {
		return nil, err
	}
	k.holders = []holder{{t, info.Object()}}
	return k, nil
}

// TryKey tries a key of the token's inventory in every scheme of TLS.
func (t *Token) TryKey(ctx context.Context, info wire.Key) Ability {
	a := Ability{Info: info, URI: KeyURI(t.Inventory().Token, info)}
	k, err := t.Key(info)
	if err != nil {
		a.Err = err
		return a
	}
	began := time.Now()
	if a.Schemes, a.Err = probe(ctx, k, k.holders[0]); a.Err != nil {
		return a
	}
	a.Key, a.Took = k, time.Since(began)/time.Duration(len(k.schemes()))
	for _, s := range k.schemes() {
		if !slices.Contains(a.Schemes, s.id) {
			a.Missing = append(a.Missing, s.id)
		}
	}
	a.Scheme = a.Schemes[0]
	for _, s := range k.schemes() {
		if slices.Contains(a.Schemes, s.id) && k.inTLS13(s) {
			a.Scheme, a.TLS13 = s.id, true
			break
		}
	}
	return a
}

// inTLS13 says whether TLS 1.3 lets the key sign by s: it wants PSS of RSA, and
// of a curve the one hash that goes with it.
func (k *Key) inTLS13(s scheme) bool {
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return s.kind == wire.PSS
	case *ecdsa.PublicKey:
		return s.hash.Size() == (public.Curve.Params().BitSize+7)/8
	}
	return false
}
