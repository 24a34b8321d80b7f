package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"sallyport/hsm/wire"
)

// Pair is a key and its chain, proved to belong together and to sign.
type Pair struct {
	Key   *Key
	Chain Chain

	certificate tls.Certificate // its PrivateKey is not bound to a handshake
}

// Leaf returns the certificate of the key.
func (p *Pair) Leaf() *x509.Certificate { return p.Chain[0] }

// Prove makes a pair of a key and a chain. The leaf must be the key's, valid at
// now and fit for a server, and the key must really sign: each signature scheme
// that TLS may ask for is tried and verified, and those that the token cannot
// do are left out of the handshake.
func Prove(ctx context.Context, k *Key, c Chain, now time.Time) (*Pair, error) {
	leaf := c[0]
	if wire.KeyIDOf(leaf.RawSubjectPublicKeyInfo) != k.id {
		return nil, problem(ErrUnfit, "the chain begins with the certificate of this very key",
			"certificate %s (serial %x) does not belong to key %q: it has another public key", leaf.Subject, leaf.SerialNumber, k.URI())
	}
	if err := validity(leaf, now); err != nil {
		return nil, problem(ErrUnfit, "is the clock right?", "certificate %s (serial %x): %v", leaf.Subject, leaf.SerialNumber, err)
	}
	if err := serverUse(leaf); err != nil {
		return nil, problem(ErrUnfit, "", "certificate %s (serial %x): %v", leaf.Subject, leaf.SerialNumber, err)
	}
	schemes, err := probe(ctx, k)
	if err != nil {
		return nil, err
	}
	p := &Pair{Key: k, Chain: c}
	p.certificate = tls.Certificate{Leaf: leaf, SupportedSignatureAlgorithms: schemes, PrivateKey: k}
	for _, cert := range c {
		p.certificate.Certificate = append(p.certificate.Certificate, cert.Raw)
	}
	return p, nil
}

// scheme is a TLS signature scheme and how it is asked of a crypto.Signer.
type scheme struct {
	id   tls.SignatureScheme
	opts crypto.SignerOpts
}

func pss(h crypto.Hash) crypto.SignerOpts {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
}

// In TLS 1.2 the ECDSA schemes name a hash alone, so any curve is asked for any of them.
var (
	ecdsaSchemes = []scheme{
		{tls.ECDSAWithP256AndSHA256, crypto.SHA256},
		{tls.ECDSAWithP384AndSHA384, crypto.SHA384},
		{tls.ECDSAWithP521AndSHA512, crypto.SHA512},
	}
	rsaSchemes = []scheme{
		{tls.PSSWithSHA256, pss(crypto.SHA256)},
		{tls.PSSWithSHA384, pss(crypto.SHA384)},
		{tls.PSSWithSHA512, pss(crypto.SHA512)},
		{tls.PKCS1WithSHA256, crypto.SHA256},
		{tls.PKCS1WithSHA384, crypto.SHA384},
		{tls.PKCS1WithSHA512, crypto.SHA512},
	}
)

// probe returns the schemes that the key can sign with.
func probe(ctx context.Context, k *Key) ([]tls.SignatureScheme, error) {
	schemes := rsaSchemes
	if _, ok := k.public.(*ecdsa.PublicKey); ok {
		schemes = ecdsaSchemes
	}
	var able []tls.SignatureScheme
	var refused error
	for _, s := range schemes {
		h := s.opts.HashFunc().New()
		h.Write([]byte("sallyport test signature"))
		digest := h.Sum(nil)
		signature, err := k.SignContext(ctx, digest, s.opts)
		var f *wire.Failure
		switch {
		case errors.As(err, &f) && f.Class == wire.Request:
			refused = err
			continue
		case err != nil:
			return nil, fmt.Errorf("test signature with key %q: %w", k.URI(), err)
		}
		if err := verify(k.public, digest, signature, s.opts); err != nil {
			return nil, problem(ErrUnfit, "the token's public key object does not belong to the private key",
				"test signature (%s) with key %q does not verify", s.id, k.URI())
		}
		able = append(able, s.id)
	}
	if len(able) == 0 {
		return nil, problem(refused, "", "key %q signs with no scheme of TLS: %v", k.URI(), refused)
	}
	return able, nil
}

func verify(public crypto.PublicKey, digest, signature []byte, opts crypto.SignerOpts) error {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(public, digest, signature) {
			return nil
		}
	case *rsa.PublicKey:
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			return rsa.VerifyPSS(public, pss.Hash, digest, signature, pss)
		}
		return rsa.VerifyPKCS1v15(public, opts.HashFunc(), digest, signature)
	}
	return errors.New("the signature is wrong")
}
