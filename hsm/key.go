package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"sallyport/hsm/wire"
)

// Key is a private key in a token, or the same one in several tokens of a
// cluster. It implements crypto.Signer and stays good when processes are
// replaced and tokens come and go.
type Key struct {
	id      wire.KeyID
	info    wire.Key
	uri     string
	public  crypto.PublicKey
	lane    lane
	holders []holder
}

// holder is a private key object on one token.
type holder struct {
	token  *Token
	object wire.ObjectID
}

// FindKeys returns the keys that u names on the tokens, each with all tokens
// that hold it, and why others that u names cannot serve. There is an error when
// there is no key at all to return.
func FindKeys(tokens []*Token, u URI) (found []*Key, unfit []error, err error) {
	return findKeys(tokens, u, func(t *Token, info wire.Key) (wire.Key, error) {
		return t.CompleteKey(context.Background(), info, t.heldCertificates().all...)
	})
}

// findKeys is FindKeys with a function that completes bare keys.
func findKeys(tokens []*Token, u URI, complete func(*Token, wire.Key) (wire.Key, error)) (found []*Key, unfit []error, err error) {
	var where []*Token
	for _, t := range tokens {
		if u.MatchesToken(t.Inventory().Token) {
			where = append(where, t)
		}
	}
	if len(where) == 0 {
		return nil, nil, problem(ErrNoKey, "the URI's token= is a token's label, serial= its serial; `sallyport token list` shows both",
			"no configured token matches %q; there is %s", u, describeTokens(tokens))
	}
	byID := make(map[wire.KeyID]*Key)
	for _, t := range where {
		inv := t.Inventory()
		for _, info := range inv.Keys {
			if !u.MatchesKey(info) {
				continue
			}
			if info.Reason != "" {
				unfit = append(unfit, problem(ErrUnfit, "", "key %q (%s) cannot sign here: %s", KeyURI(inv.Token, info), info.Type, info.Reason))
				continue
			}
			if info.Bare {
				if info, err = complete(t, info); err != nil {
					unfit = append(unfit, err)
					continue
				}
			}
			here := holder{t, info.Object()}
			id := wire.KeyIDOf(info.Public)
			if k := byID[id]; k != nil {
				k.holders = append(k.holders, here)
				continue
			}
			k, err := newKey(inv.Token, info)
			if err != nil {
				unfit = append(unfit, err)
				continue
			}
			k.holders = []holder{here}
			byID[id] = k
			found = append(found, k)
		}
	}
	if len(found) > 0 {
		return found, unfit, nil
	}
	if len(unfit) > 0 {
		return nil, unfit, unfit[0]
	}
	return nil, nil, problem(ErrNoKey, "`sallyport token list` shows each key with its URI",
		"token %q holds no key %q; it holds %s", where[0].Name(), u, describeKeys(where[0].Inventory().Keys))
}

// newKey makes a key of what a signer process says of it, which is not taken on trust.
func newKey(t wire.TokenInfo, info wire.Key) (*Key, error) {
	k := &Key{id: wire.KeyIDOf(info.Public), info: info, uri: KeyURI(t, info)}
	public, err := x509.ParsePKIXPublicKey(info.Public)
	if err != nil {
		return nil, problem(ErrUnfit, "", "key %q: its public key cannot be read: %v", k.uri, err)
	}
	k.public = public
	switch public.(type) {
	case *ecdsa.PublicKey:
		k.lane = laneECDSA
	case *rsa.PublicKey:
		k.lane = laneRSA
	default:
		return nil, problem(ErrUnfit, "", "key %q: only RSA and EC keys can serve TLS", k.uri)
	}
	return k, nil
}

func describeTokens(tokens []*Token) string {
	var all []string
	for _, t := range tokens {
		info := t.Inventory().Token
		all = append(all, fmt.Sprintf("%q (label %q, serial %q)", t.Name(), info.Label, info.Serial))
	}
	return strings.Join(all, ", ")
}

func describeKeys(keys []wire.Key) string {
	if len(keys) == 0 {
		return "no private key at all"
	}
	const most = 12
	var all []string
	for _, k := range keys[:min(len(keys), most)] {
		all = append(all, fmt.Sprintf("%q (%s)", k.Label, k.Type))
	}
	if len(keys) > most {
		all = append(all, fmt.Sprintf("and %d more", len(keys)-most))
	}
	return strings.Join(all, ", ")
}

// URI returns the shortest URI that the configuration should use for the key.
func (k *Key) URI() string { return k.uri }

// Tokens are the names of the tokens that hold the key.
func (k *Key) Tokens() []string {
	var names []string
	for _, h := range k.holders {
		if !slices.Contains(names, h.token.Name()) {
			names = append(names, h.token.Name())
		}
	}
	return names
}

// Type is "RSA-2048", "P-256" and the like.
func (k *Key) Type() string { return k.info.Type }

// Public implements crypto.Signer: an *rsa.PublicKey or *ecdsa.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Sign implements crypto.Signer for RSA (PKCS#1 v1.5, and PSS with a salt as
// long as the hash) and ECDSA (ASN.1 DER), over SHA-256, SHA-384 and SHA-512.
// The token makes its own random numbers; rand is not read.
//
// It waits for its turn for two of the token's sign timeouts at most, and for one where no
// session comes free, and then for one for the answer; a try that is lost with its process, or with its token, is
// repeated at another one, and once more if that is lost soon. C_Sign cannot be interrupted, so a call that
// times out keeps its session until the device answers or the signer process
// is replaced.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), digest, opts)
}

// SignContext is Sign that also stops waiting when ctx ends.
func (k *Key) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.signFor(ctx, digest, opts, func() bool { return false })
}

// signFor is SignContext for a caller who may have another key to sign with:
// elsewhere says whether there is one at present. A token that did not answer in
// time is then not asked again, which would take as long once more.
func (k *Key) signFor(ctx context.Context, digest []byte, opts crypto.SignerOpts, elsewhere func() bool) ([]byte, error) {
	r := wire.SignRequest{Scheme: wire.ECDSA, Hash: opts.HashFunc(), Digest: digest}
	if k.lane == laneRSA {
		r.Scheme = wire.PKCS1v15
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			r.Scheme = wire.PSS
			if salt := pss.SaltLength; salt != rsa.PSSSaltLengthEqualsHash && salt != r.Hash.Size() {
				return nil, fmt.Errorf("hsm: PSS with a salt of %d bytes: only as long as the hash is supported", salt)
			}
		}
	}
	signature, err := k.sign(ctx, r, elsewhere)
	if err != nil {
		return nil, fmt.Errorf("hsm: %w", err)
	}
	return signature, nil
}

// mostTries bounds the tries at a signature. The third is for two processes
// that end within moments of each other, and is made only while the sign timeout
// has not passed: a handshake must not wait for a token that keeps it waiting.
const mostTries = 3

func (k *Key) sign(ctx context.Context, r wire.SignRequest, elsewhere func() bool) ([]byte, error) {
	began := time.Now()
	at := max(0, k.choose(-1)) // one that is not live says why
	for tries := 1; ; tries++ {
		signature, retry, err := k.holders[at].sign(ctx, r)
		if err == nil && k.info.Bare && !verify(k.public, r.Digest, signature, scheme{kind: r.Scheme, hash: r.Hash}) {
			// Another key may have taken its place; the next reading finds out.
			signature, retry, err = nil, true, problem(ErrUnfit, "", "a signature with key %q does not verify", k.uri)
		}
		if err == nil || !retry || tries == mostTries || ctx.Err() != nil {
			return signature, err
		}
		next := k.choose(at)
		if next < 0 {
			if refused(err) || errors.Is(err, ErrBusy) {
				return nil, err // asking the same token again changes nothing
			}
			if errors.Is(err, ErrTimeout) && elsewhere() {
				return nil, err
			}
			next = at // by another process
		}
		if tries > 1 && time.Since(began) > k.holders[next].token.config.SignTimeout {
			return nil, err
		}
		at = next
	}
}

func (h holder) sign(ctx context.Context, r wire.SignRequest) (signature []byte, retry bool, err error) {
	r.Object = h.object
	return h.token.sign(ctx, r)
}

// choose picks a live token that holds the key, other than the one at index
// not: of two at random the one where a signature is expected to cost less.
// That spreads load nearly as well as looking at all of them, and does not send
// everyone to the same one at once. It returns -1 when none is live.
func (k *Key) choose(not int) int {
	var room [8]int
	live := room[:0]
	for i, h := range k.holders {
		if i != not && h.token.live() {
			live = append(live, i)
		}
	}
	switch len(live) {
	case 0:
		return -1
	case 1:
		return live[0]
	}
	a, b := rand.IntN(len(live)), rand.IntN(len(live)-1)
	if b >= a {
		b++
	}
	if k.holders[live[b]].token.cost(k.lane) < k.holders[live[a]].token.cost(k.lane) {
		a = b
	}
	return live[a]
}

// live says whether a token that holds the key can be asked.
func (k *Key) live() bool {
	return slices.ContainsFunc(k.holders, func(h holder) bool { return h.token.live() })
}

// cost is what a signature is expected to cost at the best of the key's tokens.
func (k *Key) cost() float64 {
	best := math.Inf(1)
	for _, h := range k.holders {
		if h.token.live() {
			best = min(best, h.token.cost(k.lane))
		}
	}
	return best
}

// whyDown is why none of the key's tokens can sign.
func (k *Key) whyDown() error {
	var errs []error
	for _, h := range k.holders {
		errs = append(errs, h.token.whyDown())
	}
	return errors.Join(errs...)
}
