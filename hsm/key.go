package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"strings"

	"sallyport/hsm/wire"
)

// Key is a private key in a token. It implements crypto.Signer and stays good
// when the token's process is replaced.
type Key struct {
	token  *Token
	id     wire.KeyID
	info   wire.Key
	public crypto.PublicKey
}

// FindKey returns the one key that u names on the tokens that are up.
func FindKey(tokens []*Token, u URI) (*Key, error) {
	var where []*Token
	for _, t := range tokens {
		if u.matchesToken(t.Inventory().Token) {
			where = append(where, t)
		}
	}
	if len(where) == 0 {
		return nil, problem(ErrNoKey, "the URI's token= is a token's label, serial= its serial; `sallyport token list` shows both",
			"no configured token matches %q; there is %s", u, describeTokens(tokens))
	}
	type match struct {
		token *Token
		info  wire.Key
	}
	var found []match
	for _, t := range where {
		for _, k := range t.Inventory().Keys {
			if u.matchesKey(k) {
				found = append(found, match{t, k})
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, problem(ErrNoKey, "`sallyport token list` shows each key with its URI",
			"token %q holds no key %q; it holds %s", where[0].Name(), u, describeKeys(where[0].Inventory().Keys))
	case 1:
	default:
		var all []string
		for _, m := range found {
			all = append(all, KeyURI(m.token.Inventory().Token, m.info))
		}
		return nil, problem(ErrAmbiguous, "name one of them: "+strings.Join(all, " or "),
			"%d keys match %q", len(found), u)
	}
	m := found[0]
	if m.info.Reason != "" {
		return nil, problem(ErrUnfit, "", "key %q (%s) cannot sign here: %s", u, m.info.Type, m.info.Reason)
	}
	public, err := x509.ParsePKIXPublicKey(m.info.Public)
	if err != nil {
		return nil, problem(ErrUnfit, "", "key %q: its public key cannot be read: %v", u, err)
	}
	return &Key{token: m.token, id: wire.KeyIDOf(m.info.Public), info: m.info, public: public}, nil
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

// Token returns the token that holds the key.
func (k *Key) Token() *Token { return k.token }

// URI returns the shortest URI that the configuration should use for the key.
func (k *Key) URI() string { return KeyURI(k.token.Inventory().Token, k.info) }

// Type is "RSA-2048", "P-256" and the like.
func (k *Key) Type() string { return k.info.Type }

// Public implements crypto.Signer: an *rsa.PublicKey or *ecdsa.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Sign implements crypto.Signer for RSA (PKCS#1 v1.5, and PSS with a salt as
// long as the hash) and ECDSA (ASN.1 DER), over SHA-256, SHA-384 and SHA-512.
// The token makes its own random numbers; rand is not read.
//
// It waits at most the token's sign timeout, for its turn and the answer
// together. C_Sign cannot be interrupted, so a call that times out keeps its
// session until the device answers or the signer process is replaced.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), digest, opts)
}

// SignContext is Sign that also stops waiting when ctx ends.
func (k *Key) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	r := wire.SignRequest{Key: k.id, Hash: opts.HashFunc(), Digest: digest}
	switch k.public.(type) {
	case *ecdsa.PublicKey:
		r.Scheme = wire.ECDSA
	case *rsa.PublicKey:
		r.Scheme = wire.PKCS1v15
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			r.Scheme = wire.PSS
			if salt := pss.SaltLength; salt != rsa.PSSSaltLengthEqualsHash && salt != r.Hash.Size() {
				return nil, fmt.Errorf("hsm: PSS with a salt of %d bytes: only as long as the hash is supported", salt)
			}
		}
	}
	signature, err := k.token.sign(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("hsm: %w", err)
	}
	return signature, nil
}

// boundKey signs within one handshake.
type boundKey struct {
	*Key
	ctx context.Context
}

func (k boundKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(k.ctx, digest, opts)
}
