package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"slices"

	"sallyport/hsm/wire"
)

// A bare key is a private key whose public half the token does not have: neither
// as an object, nor in a certificate with its CKA_ID, nor in the private key. Its
// certificate says what the public key is, and a test signature, whether that is
// true. It is made at each look at the token, since another private key may have
// taken the place of the one before, under the same names.

// CompleteKey fills the public key in that a bare key of the token's inventory
// lacks: that of the certificate which a test signature verifies with. Any other
// key is returned as it is.
func (t *Token) CompleteKey(ctx context.Context, info wire.Key, from ...*x509.Certificate) (wire.Key, error) {
	if !info.Bare || info.Reason != "" || len(info.Public) > 0 {
		return info, nil
	}
	uri := KeyURI(t.Inventory().Token, info)
	const hint = "name the file with its certificate under chain:, or write the certificate to the token under the key's CKA_ID"
	fitting := slices.DeleteFunc(slices.Clone(from), func(c *x509.Certificate) bool {
		public, ok := c.PublicKey.(*ecdsa.PublicKey)
		return !ok || public.Curve.Params().Name != info.Type
	})
	if len(fitting) == 0 {
		return info, problem(ErrUnfit, hint, "key %q (%s): its public key is not on the token, and no certificate for a key of its type is known", uri, info.Type)
	}
	s := ecdsaSchemes[0]
	digest := testDigest(s.hash)
	signature, _, err := holder{t, info.Object()}.sign(ctx, wire.SignRequest{Scheme: s.kind, Hash: s.hash, Digest: digest})
	if err != nil {
		return info, fmt.Errorf("test signature with key %q: %w", uri, err)
	}
	for _, c := range fitting {
		if verify(c.PublicKey, digest, signature, s) {
			info.Public = c.RawSubjectPublicKeyInfo
			return info, nil
		}
	}
	return info, problem(ErrUnfit, hint, "key %q (%s): its public key is not on the token, and its test signature does not verify with any of the certificates that are known (%d of its type)",
		uri, info.Type, len(fitting))
}

// testDigest is what test signatures are made over.
func testDigest(hash crypto.Hash) []byte {
	h := hash.New()
	h.Write([]byte("sallyport test signature"))
	return h.Sum(nil)
}

// complete is CompleteKey for what a keyring serves. A token that cannot sign now
// is taken to hold the key that it held. The caller holds mu.
func (r *Keyring) complete(ctx context.Context, t *Token, info wire.Key, from []*x509.Certificate) (wire.Key, error) {
	here := holder{t, info.Object()}
	known, was := r.completed[here]
	expected := was && slices.ContainsFunc(from, func(c *x509.Certificate) bool { return string(c.RawSubjectPublicKeyInfo) == string(known) })
	done, err := info, error(nil)
	if t.live() {
		err = r.bounded(ctx, t, KeyURI(t.Inventory().Token, info), func(ctx context.Context) error {
			done, err = t.CompleteKey(ctx, info, from...)
			return err
		})
	} else {
		err = t.whyDown()
	}
	switch {
	case err == nil:
		if id := wire.KeyIDOf(done.Public); !was || wire.KeyIDOf(known) != id {
			delete(r.proofs, here) // it is of another key
		}
		r.completed[here] = done.Public
		return done, nil
	case expected && !isUnfit(err):
		info.Public = known
		return info, nil
	case expected: // without its certificate, as of a site with a stranger's, the signature says nothing of it
		delete(r.completed, here)
	}
	return info, err
}
