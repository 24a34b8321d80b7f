package hsm

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"sallyport/hsm/wire"
)

// Pair is a key and its chain, proved to belong together and to sign.
type Pair struct {
	Key   *Key
	Chain Chain

	certificate tls.Certificate // its PrivateKey is not bound to a handshake
	gap         error           // which certificate the chain seems to lack; nil: none
	doubted     *atomic.Int64   // when a signature last failed, Unix nanoseconds; all pairs of the entry's key share it
}

// Leaf returns the certificate of the key.
func (p *Pair) Leaf() *x509.Certificate { return p.Chain[0] }

// Gap returns which certificate seems to be missing in the chain, or nil. The pair
// is served all the same.
func (p *Pair) Gap() error { return p.gap }

// Schemes are those that the key was proved to sign with.
func (p *Pair) Schemes() []tls.SignatureScheme { return p.certificate.SupportedSignatureAlgorithms }

// TLS13 reports whether the key signs with a scheme that TLS 1.3 takes of it (RFC
// 8446 §4.2.3). One that does not serves TLS 1.2.
func (p *Pair) TLS13() bool {
	return slices.ContainsFunc(p.Key.schemes(), func(s scheme) bool { return p.Key.inTLS13(s) && slices.Contains(p.Schemes(), s.id) })
}

// doubtFor is how long a pair whose signature failed comes after all others.
const doubtFor = 5 * time.Second

// doubt notes that a signature failed.
func (p *Pair) doubt(now time.Time) { p.doubted.Store(now.UnixNano()) }

// inDoubt says whether a signature failed of late.
func (p *Pair) inDoubt(now time.Time) bool {
	return now.Sub(time.Unix(0, p.doubted.Load())) < doubtFor
}

// check says why the chain cannot go with the key: the leaf must be the key's,
// valid at now, and fit for a server.
func (k *Key) check(c Chain, now time.Time) error {
	leaf := c[0]
	if !k.owns(leaf) {
		return problem(ErrUnfit, k.whose(leaf), "certificate %s (serial %x) does not belong to key %q: it has another public key", leaf.Subject, leaf.SerialNumber, k.uri)
	}
	if err := validity(leaf, now); err != nil {
		return problem(ErrUnfit, hintForValidity(leaf, now), "certificate %s (serial %x): %v", leaf.Subject, leaf.SerialNumber, err)
	}
	if err := serverUse(leaf); err != nil {
		return problem(ErrUnfit, "have one issued for a TLS server: digitalSignature among its key usages, and serverAuth among the extended ones",
			"certificate %s (serial %x): %v", leaf.Subject, leaf.SerialNumber, err)
	}
	for i, issuer := range c[1:] {
		if err := validity(issuer, now); err != nil {
			return problem(ErrUnfit, "get the issuer's present certificate, and put it there; the site's own may stay", "certificate %d of the chain (%s): %v", i+2, issuer.Subject, err)
		}
	}
	return nil
}

// whose says which key a certificate that is not k's belongs to, for a hint.
func (k *Key) whose(leaf *x509.Certificate) string {
	for _, h := range k.holders {
		inv := h.token.Inventory()
		for _, other := range inv.Keys {
			if len(other.Public) > 0 && wire.KeyIDOf(other.Public) == wire.KeyIDOf(leaf.RawSubjectPublicKeyInfo) {
				return fmt.Sprintf("it belongs to key %q; the chain begins with the certificate of the key that key: names", KeyURI(inv.Token, other))
			}
		}
	}
	return "the chain begins with the certificate of this very key; was the key made anew since it was issued, or is the file another site's?"
}

// hintForValidity says what helps a certificate that is not valid at now.
func hintForValidity(leaf *x509.Certificate, now time.Time) string {
	clock := "this machine's clock says " + now.UTC().Format("2006-01-02 15:04 MST")
	if now.Before(leaf.NotBefore) {
		return "clients refuse it until then: leave the one before in its place as long; " + clock
	}
	return "clients refuse it: have it renewed (`sallyport csr` makes the request) and write the new one in its place; " + clock
}

// newPair joins a key and a chain that have been proved, for the schemes that
// the key can sign with.
func newPair(k *Key, c Chain, schemes []tls.SignatureScheme) *Pair {
	p := &Pair{Key: k, Chain: c, doubted: new(atomic.Int64)}
	p.certificate = tls.Certificate{Leaf: c[0], SupportedSignatureAlgorithms: schemes, PrivateKey: k}
	for _, cert := range c {
		p.certificate.Certificate = append(p.certificate.Certificate, cert.Raw)
	}
	return p
}

// scheme is a TLS signature scheme and how it is asked of a token.
type scheme struct {
	id   tls.SignatureScheme
	kind wire.Scheme
	hash crypto.Hash
}

// In TLS 1.2 the ECDSA schemes name a hash alone, so any curve is asked for any of them.
var (
	ecdsaSchemes = []scheme{
		{tls.ECDSAWithP256AndSHA256, wire.ECDSA, crypto.SHA256},
		{tls.ECDSAWithP384AndSHA384, wire.ECDSA, crypto.SHA384},
		{tls.ECDSAWithP521AndSHA512, wire.ECDSA, crypto.SHA512},
	}
	rsaSchemes = []scheme{
		{tls.PSSWithSHA256, wire.PSS, crypto.SHA256},
		{tls.PSSWithSHA384, wire.PSS, crypto.SHA384},
		{tls.PSSWithSHA512, wire.PSS, crypto.SHA512},
		{tls.PKCS1WithSHA256, wire.PKCS1v15, crypto.SHA256},
		{tls.PKCS1WithSHA384, wire.PKCS1v15, crypto.SHA384},
		{tls.PKCS1WithSHA512, wire.PKCS1v15, crypto.SHA512},
	}
)

// schemes are those of TLS for the key's type.
func (k *Key) schemes() []scheme {
	if k.lane == laneECDSA {
		return ecdsaSchemes
	}
	return rsaSchemes
}

// probe returns the schemes that the key signs with on one token: each is tried
// and verified, so that a handshake never chooses one that fails.
func probe(ctx context.Context, k *Key, at holder) ([]tls.SignatureScheme, error) {
	var able []tls.SignatureScheme
	var refused error
	for _, s := range k.schemes() {
		digest := testDigest(s.hash)
		signature, _, err := at.sign(ctx, wire.SignRequest{Scheme: s.kind, Hash: s.hash, Digest: digest})
		var f *wire.Failure
		switch {
		case errors.As(err, &f) && f.Class == wire.Request:
			refused = err
			continue
		case err != nil:
			return nil, problem(err, cmp.Or(hintIn(err), "the token takes logins and does not sign: `sallyport doctor` tries each key by itself"), "test signature with key %q: %v", k.uri, err)
		}
		if !verify(k.public, digest, signature, s) {
			return nil, problem(ErrUnfit, "the token's public key object does not belong to the private key",
				"test signature (%s) with key %q does not verify", s.id, k.uri)
		}
		able = append(able, s.id)
	}
	if len(able) == 0 {
		return nil, problem(refused, "", "key %q signs with no scheme of TLS: %v", k.uri, refused)
	}
	return able, nil
}

func verify(public crypto.PublicKey, digest, signature []byte, s scheme) bool {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, digest, signature)
	case *rsa.PublicKey:
		if s.kind == wire.PSS {
			return rsa.VerifyPSS(public, s.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(public, s.hash, digest, signature) == nil
	}
	return false
}
