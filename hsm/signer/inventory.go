package signer

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// maxObjects bounds how many objects of a class are read.
const maxObjects = 4096

// keys are the keys that can sign, by the name that the serving process has for them.
type keys map[wire.ObjectID]crypto11.Signer

// inventory reads the open token's private keys and certificates. A key that
// cannot sign is listed with the reason.
func (o *openToken) inventory() (wire.Inventory, keys, error) {
	inv := wire.Inventory{Token: o.module.info(o.token, o.sessions)}
	s, err := o.module.openSession(o.token.slot)
	if err != nil {
		return inv, nil, err
	}
	defer s.close()
	if err := o.unchanged(s); err != nil {
		return inv, nil, err
	}
	if inv.Certificates, err = s.certificates(); err != nil {
		return inv, nil, err
	}
	handles, err := s.find(pkcs11.CKO_PRIVATE_KEY)
	if err != nil {
		return inv, nil, err
	}
	found := make(keys)
	for _, h := range handles {
		k, signer, err := o.key(s, h)
		if err != nil {
			return inv, nil, err
		}
		if signer != nil {
			found[k.Object()] = signer
		}
		inv.Keys = append(inv.Keys, k)
	}
	slices.SortFunc(inv.Keys, byLabel)
	return inv, found, o.countKeys(len(inv.Keys))
}

// byLabel orders keys, since a token lists them in any order.
func byLabel(a, b wire.Key) int {
	return cmp.Or(cmp.Compare(a.Label, b.Label), bytes.Compare(a.ID, b.ID))
}

// key describes the private key h; its signer is nil where it cannot sign. An
// error means that the token could not be asked.
func (o *openToken) key(s session, h pkcs11.ObjectHandle) (wire.Key, crypto11.Signer, error) {
	a := attributes{s, h, nil}
	label := a.bytes(pkcs11.CKA_LABEL)
	k := wire.Key{ID: a.bytes(pkcs11.CKA_ID), Label: text(label)}
	keyType, ok := a.ulong(pkcs11.CKA_KEY_TYPE)
	forbidden := isFalse(a.bytes(pkcs11.CKA_SIGN))
	if a.err != nil {
		return k, nil, a.err
	}
	k.Type = keyTypeName(keyType, ok)
	switch {
	case !ok:
		k.Reason = "its CKA_KEY_TYPE cannot be read"
	case keyType != pkcs11.CKK_RSA && keyType != pkcs11.CKK_EC:
		k.Reason = "only RSA and EC keys can serve TLS"
	case len(k.ID) == 0:
		k.Reason = "it has no CKA_ID, which joins it to its public key"
	case forbidden:
		k.Reason = "its CKA_SIGN is false"
	}
	if k.Reason != "" {
		return k, nil, nil
	}

	match := crypto11.NewAttributeSet()
	err := match.Set(crypto11.CkaId, k.ID)
	if err == nil {
		err = match.Set(crypto11.CkaKeyType, keyType)
	}
	if err == nil && len(label) > 0 {
		err = match.Set(crypto11.CkaLabel, label)
	}
	var pairs []crypto11.Signer
	if err == nil {
		pairs, err = o.crypto11.FindKeyPairsWithAttributes(match)
	}
	if rv, ok := returnValue(err); ok && classOf(uint(rv)) != wire.Request {
		return k, nil, fmt.Errorf("find key %q: %w", k.Label, err)
	}
	switch {
	case err != nil:
		k.Reason = err.Error()
	case len(pairs) == 0:
		k.Reason = "the token holds neither its public key nor a certificate with its CKA_ID"
	case len(pairs) > 1:
		k.Reason = fmt.Sprintf("%d private keys share this CKA_ID and label", len(pairs))
	default:
		if k.Reason = describe(&k, keyType, pairs[0]); k.Reason == "" {
			return k, pairs[0], nil
		}
	}
	return k, nil, nil
}

// describe fills in the public key and its type, and says why it will not do.
func describe(k *wire.Key, keyType uint, s crypto11.Signer) (reason string) {
	// The public half is another object, or a certificate, of the same CKA_ID: it
	// may be anything. That it belongs to the key is proved by test signatures.
	switch pub := s.Public().(type) {
	case *rsa.PublicKey:
		if keyType != pkcs11.CKK_RSA {
			return "the public key or certificate with its CKA_ID is of another type"
		}
		k.Type = fmt.Sprintf("RSA-%d", pub.N.BitLen())
		if pub.N.BitLen() < 2048 {
			return "RSA keys need 2048 bits or more"
		}
	case *ecdsa.PublicKey:
		if keyType != pkcs11.CKK_EC {
			return "the public key or certificate with its CKA_ID is of another type"
		}
		k.Type = pub.Curve.Params().Name
		if k.Type != "P-256" && k.Type != "P-384" {
			return "only the curves P-256 and P-384 are served"
		}
	default:
		return "the public key or certificate with its CKA_ID is of another type"
	}
	der, err := x509.MarshalPKIXPublicKey(s.Public())
	if err != nil {
		return fmt.Sprintf("its public key cannot be read: %v", err)
	}
	k.Public = der
	return ""
}

// visible lists what a token shows without a login.
func (m *module) visible(t token) (wire.Inventory, error) {
	inv := wire.Inventory{Token: m.info(t, 0)}
	s, err := m.openSession(t.slot)
	if err != nil {
		return inv, err
	}
	defer s.close()
	if inv.Certificates, err = s.certificates(); err != nil {
		return inv, err
	}
	// Private keys mostly hide until the login; their public halves tell of them.
	seen := make(map[string]wire.Key)
	for _, class := range []uint{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY} {
		handles, err := s.find(class)
		if err != nil {
			return inv, err
		}
		for _, h := range handles {
			a := attributes{s, h, nil}
			keyType, ok := a.ulong(pkcs11.CKA_KEY_TYPE)
			k := wire.Key{ID: a.bytes(pkcs11.CKA_ID), Label: text(a.bytes(pkcs11.CKA_LABEL)), Type: keyTypeName(keyType, ok)}
			if a.err != nil {
				return inv, a.err
			}
			seen[k.Label+"\x00"+string(k.ID)] = k
		}
	}
	inv.Keys = slices.SortedFunc(maps.Values(seen), byLabel)
	return inv, nil
}

func keyTypeName(keyType uint, known bool) string {
	names := map[uint]string{
		pkcs11.CKK_RSA: "RSA", pkcs11.CKK_EC: "EC", pkcs11.CKK_DSA: "DSA", pkcs11.CKK_DH: "DH",
		0x40: "Ed25519 or Ed448", 0x41: "X25519 or X448", // CKK_EC_EDWARDS, CKK_EC_MONTGOMERY (v3.0)
	}
	if name, ok := names[keyType]; ok && known {
		return name
	}
	return fmt.Sprintf("key type %#x", keyType)
}
