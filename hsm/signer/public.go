package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math"
	"math/big"

	"github.com/miekg/pkcs11"
)

// publicHalf is an object that may be the public half of a private key: a public
// key, or a certificate.
type publicHalf struct {
	label   []byte
	keyType uint
	public  crypto.PublicKey
	err     error // why public cannot be read
}

// publicHalves are those of a token by CKA_ID, public keys before certificates.
type publicHalves map[string][]publicHalf

// of returns the public half for a private key: of the public keys with its
// CKA_ID and type the one with its label, or else the first, or else that of a
// certificate with its CKA_ID.
func (p publicHalves) of(id, label []byte, keyType uint) (found *publicHalf) {
	for i, half := range p[string(id)] {
		switch {
		case half.keyType == keyType && bytes.Equal(half.label, label):
			return &p[string(id)][i]
		case found == nil && half.keyType == keyType:
			found = &p[string(id)][i]
		}
	}
	if found == nil && len(p[string(id)]) > 0 {
		found = &p[string(id)][0]
	}
	return found
}

// publicKeys reads public keys whose CKA_ID is wanted.
func (s *session) publicKeys(objects []object, wanted map[string]bool) (publicHalves, error) {
	all := make(publicHalves)
	for _, o := range objects {
		a, err := s.read(o, pkcs11.CKA_ID, pkcs11.CKA_LABEL, pkcs11.CKA_KEY_TYPE)
		if gone(err) || isOdd(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		keyType, ok := ulong(a[2])
		if !wanted[string(a[0])] || !ok {
			continue
		}
		half := publicHalf{label: a[1], keyType: keyType}
		switch keyType {
		case pkcs11.CKK_RSA:
			half.public, half.err = s.rsaPublic(o)
		case pkcs11.CKK_EC:
			half.public, half.err = s.ecPublic(o)
		default:
			half.err = errors.New("it is of a type that does not serve TLS")
		}
		if rv, ok := returnValue(half.err); ok {
			if gone(rv) {
				continue
			}
			return nil, half.err
		}
		all[string(a[0])] = append(all[string(a[0])], half)
	}
	return all, nil
}

// askPrivateKeys looks for what private keys without a public half on the token say
// of it themselves: its DER (CKA_PUBLIC_KEY_INFO), their modulus, or the curve alone.
func (s *session) askPrivateKeys(private []privateObject, public publicHalves) error {
	for i := range private {
		p := &private[i]
		if len(p.id) == 0 || public.of(p.id, p.label, p.keyType) != nil || p.keyType != pkcs11.CKK_RSA && p.keyType != pkcs11.CKK_EC {
			continue
		}
		a, err := s.read(p.handle, pkcs11.CKA_PUBLIC_KEY_INFO, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_PARAMS)
		if gone(err) || isOdd(err) {
			continue
		}
		if err != nil {
			return err
		}
		half := publicHalf{label: p.label, keyType: p.keyType}
		if half.public, err = x509.ParsePKIXPublicKey(a[0]); err != nil && p.keyType == pkcs11.CKK_RSA {
			half.public, err = rsaPublic(a[1], a[2])
		}
		_, isRSA := half.public.(*rsa.PublicKey)
		_, isEC := half.public.(*ecdsa.PublicKey)
		switch {
		case err == nil && (isRSA && p.keyType == pkcs11.CKK_RSA || isEC && p.keyType == pkcs11.CKK_EC):
			public[string(p.id)] = append(public[string(p.id)], half)
		case p.keyType == pkcs11.CKK_EC:
			p.curve = servedCurve(a[3])
		}
	}
	return nil
}

// servedCurve is the curve of CKA_EC_PARAMS where it is one that is served, or nil.
func servedCurve(parameters []byte) elliptic.Curve {
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(parameters, &oid); err != nil || len(rest) > 0 {
		return nil
	}
	for _, c := range curves[:2] {
		if c.oid.Equal(oid) {
			return c.curve
		}
	}
	return nil
}

// addCertificate takes a certificate for the public half of the key with its CKA_ID.
func (p publicHalves) addCertificate(id, label, der []byte) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return
	}
	half := publicHalf{label: label, public: c.PublicKey}
	switch c.PublicKey.(type) {
	case *rsa.PublicKey:
		half.keyType = pkcs11.CKK_RSA
	case *ecdsa.PublicKey:
		half.keyType = pkcs11.CKK_EC
	default:
		half.keyType = math.MaxUint
	}
	p[string(id)] = append(p[string(id)], half)
}

// maxModulus is the largest RSA modulus that is taken, in bytes: verifying takes
// time that grows with its square.
const maxModulus = 16384 / 8

var errPublicKey = errors.New("its public key is malformed")

func (s *session) rsaPublic(o object) (crypto.PublicKey, error) {
	a, err := s.read(o, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return nil, err
	}
	return rsaPublic(a[0], a[1])
}

// rsaPublic makes a key of the device's numbers, which are big endian.
func rsaPublic(modulus, exponent []byte) (crypto.PublicKey, error) {
	n, e := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	if len(modulus) > maxModulus || n.Bit(0) == 0 || e.BitLen() > 31 || e.Bit(0) == 0 || e.Int64() < 3 {
		return nil, errPublicKey
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func (s *session) ecPublic(o object) (crypto.PublicKey, error) {
	a, err := s.read(o, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	return ecPublic(a[0], a[1])
}

// curves are the named curves (RFC 5480 §2.1.1.1).
var curves = []struct {
	oid   asn1.ObjectIdentifier
	curve elliptic.Curve
}{
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, elliptic.P256()},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 34}, elliptic.P384()},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 35}, elliptic.P521()},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 33}, elliptic.P224()},
}

// ecPublic makes a key of CKA_EC_PARAMS and CKA_EC_POINT (PKCS#11 v2.40 §2.3.3).
// The point is an OCTET STRING; some libraries leave that wrapping out.
func ecPublic(parameters, point []byte) (crypto.PublicKey, error) {
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(parameters, &oid); err != nil || len(rest) > 0 {
		return nil, errors.New("its curve is not one that has a name")
	}
	for _, c := range curves {
		if !c.oid.Equal(oid) {
			continue
		}
		var bare []byte
		if rest, err := asn1.Unmarshal(point, &bare); err != nil || len(rest) > 0 {
			bare = point
		}
		public, err := ecdsa.ParseUncompressedPublicKey(c.curve, bare)
		if err != nil {
			return nil, errPublicKey
		}
		return public, nil
	}
	return nil, errors.New("only the curves P-256 and P-384 are served")
}
