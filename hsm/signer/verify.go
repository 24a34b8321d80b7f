package signer

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"

	"sallyport/hsm/wire"
)

// A signature of RSA that was made with a fault in the device's arithmetic gives the
// private key to whoever sees it (Boneh, DeMillo and Lipton, 1997; by PKCS#1 v1.5 one is
// enough), so each is verified before it leaves this process. By ECDSA that takes many
// wrong ones of a kind, and verifying costs as much as the signature, so it is done by
// sample, and for all of them while there is doubt.
const (
	// firstSignatures of an ECDSA key are verified in each process,
	firstSignatures = 16
	// and of those behind them each sampledSignatures-th.
	sampledSignatures = 32
)

// verified reports whether the key's next signature is to be verified. Of a bare key
// the serving process alone knows the public half, and verifies all.
func (k *privateKey) verified(doubt bool) bool {
	if k.public == nil {
		return false
	}
	if _, ok := k.public.(*ecdsa.PublicKey); !ok || doubt {
		return true
	}
	n := k.made.Add(1)
	return n <= firstSignatures || n%sampledSignatures == 0
}

// right reports whether a signature is what was asked for.
func (k *privateKey) right(r wire.SignRequest, signature []byte) bool {
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		if r.Scheme == wire.PSS {
			return rsa.VerifyPSS(public, r.Hash, r.Digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(public, r.Hash, r.Digest, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, r.Digest, signature)
	}
	return false
}

// sign has a key sign, and returns no signature that is found wrong.
func (s *signer) sign(session *session, r wire.SignRequest) ([]byte, error) {
	key, ok := (*s.keys.Load())[r.Object]
	if !ok {
		return nil, errNoSuchKey
	}
	signature, err := key.sign(session, r)
	switch {
	case isOdd(err):
		return nil, s.wrong(key, "%v", err)
	case err != nil:
		return nil, err
	case !key.verified(s.doubt.Load()):
		return signature, nil
	case !key.right(r, signature):
		return nil, s.wrong(key, "a signature (%s) does not verify", r.Scheme)
	}
	key.proved.Store(true)
	return signature, nil
}

// wrong is the failure of a token that gives wrong signatures. All that this process
// makes are verified from now on, unless it is the key's public half that is to blame.
func (s *signer) wrong(k *privateKey, format string, args ...any) error {
	if k.proved.Load() {
		s.doubt.Store(true)
	}
	return &failure{wire.Failure{Class: wire.Wrong, Cause: "the token gave a wrong signature: " + fmt.Sprintf(format, args...)}}
}
