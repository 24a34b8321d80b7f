package hsm

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"slices"

	"sallyport/hsm/wire"
)

// Examine asks one of the token's signer processes what the token says of
// itself and can do beside signing. It waits for the open timeout at most.
func (t *Token) Examine(ctx context.Context) (e wire.Examination, err error) {
	up := t.queue.processes()
	if len(up) == 0 {
		return e, t.whyDown()
	}
	ctx, cancel := context.WithTimeout(ctx, t.config.OpenTimeout)
	defer cancel()
	if err := up[0].ask(ctx, wire.Examine, nil, &e); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = problem(ErrTimeout, "", "the token did not answer within %s", t.config.OpenTimeout)
		}
		return e, outward(err)
	}
	return e, nil
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
func (t *Token) Sessions() int { return t.queue.sessions() }

// Ability is what a private key of a token can do.
type Ability struct {
	Info    wire.Key
	URI     string
	Key     *Key                  // nil: Err says why it cannot sign
	Schemes []tls.SignatureScheme // that it signs with, each tried and verified
	Missing []tls.SignatureScheme // that the token refuses
	Scheme  tls.SignatureScheme   // what it is asked for most: in TLS 1.3, or in 1.2 if it lacks that
	TLS13   bool                  // it has what TLS 1.3 needs (RFC 8446 §4.2.3)
	Err     error
}

// TryKey tries a key of the token's inventory in every scheme of TLS.
func (t *Token) TryKey(ctx context.Context, info wire.Key) Ability {
	token := t.Inventory().Token
	a := Ability{Info: info, URI: KeyURI(token, info)}
	if info.Reason != "" {
		a.Err = problem(ErrUnfit, "", "cannot sign here: %s", info.Reason)
		return a
	}
	k, err := newKey(token, info)
	if err != nil {
		a.Err = err
		return a
	}
	at := holder{t, info.Object()}
	k.holders = []holder{at}
	if a.Schemes, a.Err = probe(ctx, k, at); a.Err != nil {
		return a
	}
	a.Key = k
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
