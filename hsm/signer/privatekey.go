package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"math/big"
	"sync/atomic"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// privateKey is a private key object of the open token, and the public key that
// goes with it.
type privateKey struct {
	handle object
	public crypto.PublicKey // *rsa.PublicKey or *ecdsa.PublicKey; nil for a bare key
	curve  elliptic.Curve   // of a bare key, which is an EC key
	made   atomic.Uint64    // signatures of ECDSA
	proved atomic.Bool      // a signature verified with public
}

// hashing is what PKCS#11 has for a hash.
type hashing struct {
	mechanism, mgf uint
	prefix         string // of a DigestInfo (RFC 8017 §9.2, note 1)
}

var hashes = map[crypto.Hash]hashing{
	crypto.SHA256: {pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"},
	crypto.SHA384: {pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"},
	crypto.SHA512: {pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512, "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"},
}

// sign has the token sign a digest. An RSA signature is as long as the modulus;
// one by ECDSA is ASN.1 DER (RFC 3279 §2.2.3).
func (k *privateKey) sign(s *session, r wire.SignRequest) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return k.signRSA(s, public, r)
	case *ecdsa.PublicKey, nil:
		if r.Scheme != wire.ECDSA {
			break
		}
		curve := k.curve
		if p, ok := public.(*ecdsa.PublicKey); ok {
			curve = p.Curve
		}
		half := (curve.Params().N.BitLen() + 7) / 8
		raw, err := s.library.sign(s.handle, pkcs11.CKM_ECDSA, nil, uint(k.handle), r.Digest, 2*half)
		if err != nil {
			return nil, err
		}
		return ecdsaDER(raw, curve.Params().N)
	}
	return nil, fmt.Errorf("%s is not for this type of key", r.Scheme)
}

func (k *privateKey) signRSA(s *session, public *rsa.PublicKey, r wire.SignRequest) ([]byte, error) {
	h := hashes[r.Hash] // wire knows no other hashes
	var raw []byte
	var err error
	switch r.Scheme {
	case wire.PKCS1v15:
		raw, err = s.library.sign(s.handle, pkcs11.CKM_RSA_PKCS, nil, uint(k.handle), append([]byte(h.prefix), r.Digest...), public.Size())
	case wire.PSS:
		salt := pkcs11.NewPSSParams(h.mechanism, h.mgf, uint(r.Hash.Size()))
		raw, err = s.library.sign(s.handle, pkcs11.CKM_RSA_PKCS_PSS, salt, uint(k.handle), r.Digest, public.Size())
	default:
		return nil, fmt.Errorf("%s is not for this type of key", r.Scheme)
	}
	if err == nil && len(raw) != public.Size() {
		err = odd("it has %d bytes, and those of the key have %d", len(raw), public.Size())
	}
	return raw, err
}

// ecdsaDER encodes a signature as PKCS#11 has it: r and s, each of half its
// length (v2.40 §2.3.6). Libraries exist that leave leading zeros out, of both alike.
// Numbers that no signature of the curve's order has are odd.
func ecdsaDER(raw []byte, order *big.Int) ([]byte, error) {
	most := 2 * ((order.BitLen() + 7) / 8)
	if len(raw) == 0 || len(raw)%2 != 0 || len(raw) > most {
		return nil, odd("it has %d bytes, and those of the key have %d", len(raw), most)
	}
	n := len(raw) / 2
	r, s := new(big.Int).SetBytes(raw[:n]), new(big.Int).SetBytes(raw[n:])
	if r.Sign() == 0 || s.Sign() == 0 || r.Cmp(order) >= 0 || s.Cmp(order) >= 0 {
		return nil, odd("its numbers are not between 0 and the curve's order")
	}
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}
