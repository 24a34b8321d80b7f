package signer

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// keys are the keys that can sign, by the name that the serving process has for them.
type keys map[wire.ObjectID]*privateKey

// objects are what a token lists: handles by class.
type objects struct{ private, public, certificates []object }

// list lists the token's objects: three searches, however many there are.
func (s *session) list() (o objects, err error) {
	for _, class := range []struct {
		of   uint
		into *[]object
	}{{pkcs11.CKO_PRIVATE_KEY, &o.private}, {pkcs11.CKO_PUBLIC_KEY, &o.public}, {pkcs11.CKO_CERTIFICATE, &o.certificates}} {
		if *class.into, err = s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, class.of)); err != nil {
			return o, err
		}
	}
	return o, nil
}

// privateObject is what a private key's object says of itself.
type privateObject struct {
	handle    object
	id, label []byte
	keyType   uint
	typed     bool           // keyType is known
	forbidden bool           // to sign with it
	perUse    bool           // it wants a login for each signature
	curve     elliptic.Curve // of an EC key whose public half is not on the token
	odd       error
}

// privateKeys reads private keys.
func (s *session) privateKeys(handles []object) ([]privateObject, error) {
	var all []privateObject
	for _, h := range handles {
		a, err := s.read(h, pkcs11.CKA_ID, pkcs11.CKA_LABEL, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_SIGN, pkcs11.CKA_ALWAYS_AUTHENTICATE)
		switch {
		case gone(err):
		case isOdd(err):
			all = append(all, privateObject{handle: h, odd: err})
		case err != nil:
			return nil, err
		default:
			o := privateObject{handle: h, id: a[0], label: a[1], forbidden: isFalse(a[3]), perUse: isTrue(a[4])}
			o.keyType, o.typed = ulong(a[2])
			all = append(all, o)
		}
	}
	return all, nil
}

// inventory reads the open token's private keys and certificates, each object
// once. A key that cannot sign is listed with the reason.
func (o *openToken) inventory(s *session) (wire.Inventory, keys, error) {
	inv := wire.Inventory{Token: o.module.info(o.token, len(o.sessions))}
	listed, err := s.list()
	if err != nil {
		return inv, nil, err
	}
	if inv.Certificates, err = s.certificates(listed.certificates); err != nil {
		return inv, nil, err
	}
	private, err := s.privateKeys(listed.private)
	if err != nil {
		return inv, nil, err
	}
	wanted, same := make(map[string]bool), make(map[string]int)
	for _, p := range private {
		wanted[string(p.id)] = true
		same[p.name()]++
	}
	public, err := s.publicKeys(listed.public, wanted)
	if err != nil {
		return inv, nil, err
	}
	for _, c := range inv.Certificates {
		if wanted[string(c.ID)] {
			public.addCertificate(c.ID, []byte(c.Label), c.DER)
		}
	}
	if err := s.askPrivateKeys(private, public); err != nil {
		return inv, nil, err
	}
	found := make(keys)
	for _, p := range private {
		k, key := p.describe(public, same[p.name()])
		if key != nil && o.mayUse(inv.Token, k) {
			found[k.Object()] = key
		}
		inv.Keys = append(inv.Keys, k)
	}
	slices.SortFunc(inv.Keys, byLabel)
	return inv, found, o.countKeys(len(inv.Keys))
}

// name is what no two keys that can be told apart have in common.
func (p privateObject) name() string { return fmt.Sprintf("%d %x %x", p.keyType, p.id, p.label) }

// byLabel orders keys, since a token lists them in any order.
func byLabel(a, b wire.Key) int {
	return cmp.Or(cmp.Compare(a.Label, b.Label), bytes.Compare(a.ID, b.ID))
}

// describe describes a private key, of which there are so many of the same name.
// The key to sign with is nil where it cannot.
func (p privateObject) describe(public publicHalves, same int) (k wire.Key, key *privateKey) {
	k = wire.Key{ID: p.id, Label: text(p.label), Type: keyTypeName(p.keyType, p.typed)}
	switch {
	case p.odd != nil:
		k.Reason = p.odd.Error()
	case !p.typed:
		k.Reason = "its CKA_KEY_TYPE cannot be read"
	case p.keyType != pkcs11.CKK_RSA && p.keyType != pkcs11.CKK_EC:
		k.Reason = "only RSA and EC keys can serve TLS"
	case len(p.id) == 0:
		k.Reason = "it has no CKA_ID, which joins it to its public key"
	case p.forbidden:
		k.Reason = "its CKA_SIGN is false"
	case p.perUse:
		k.Reason = "it wants a login for each signature (CKA_ALWAYS_AUTHENTICATE), which a service cannot make: make a key without that, or a copy of it where the token lets you"
	case same > 1:
		k.Reason = fmt.Sprintf("%d private keys share this CKA_ID and label", same)
	}
	if k.Reason != "" {
		return k, nil
	}
	half := public.of(p.id, p.label, p.keyType)
	switch {
	case half == nil && p.curve != nil:
		k.Bare, k.Type = true, p.curve.Params().Name
		return k, &privateKey{handle: p.handle, curve: p.curve}
	case half == nil:
		k.Reason = "the token holds neither its public key nor a certificate with its CKA_ID"
	case half.err != nil:
		k.Reason = half.err.Error()
	case half.keyType != p.keyType:
		k.Reason = "the public key or certificate with its CKA_ID is of another type"
	default:
		key = &privateKey{handle: p.handle, public: half.public}
		if k.Reason = describe(&k, key); k.Reason != "" {
			key = nil
		}
	}
	return k, key
}

// describe fills in the public key and its type, and says why it will not do.
// The public half is another object, or a certificate, of the same CKA_ID: it
// may be anything. That it belongs to the key is proved by test signatures.
func describe(k *wire.Key, key *privateKey) (reason string) {
	switch public := key.public.(type) {
	case *rsa.PublicKey:
		k.Type = fmt.Sprintf("RSA-%d", public.N.BitLen())
		if public.N.BitLen() < 2048 {
			return "RSA keys need 2048 bits or more"
		}
		if public.N.BitLen() > 8*maxModulus {
			return fmt.Sprintf("RSA keys have %d bits or less", 8*maxModulus)
		}
	case *ecdsa.PublicKey:
		k.Type = public.Curve.Params().Name
		if k.Type != "P-256" && k.Type != "P-384" {
			return "only the curves P-256 and P-384 are served"
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key.public)
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
	listed, err := s.list()
	if err != nil {
		return inv, err
	}
	if inv.Certificates, err = s.certificates(listed.certificates); err != nil {
		return inv, err
	}
	// Private keys mostly hide until the login; their public halves tell of them.
	seen := make(map[string]wire.Key)
	for _, o := range slices.Concat(listed.public, listed.private) {
		a, err := s.read(o, pkcs11.CKA_ID, pkcs11.CKA_LABEL, pkcs11.CKA_KEY_TYPE)
		if gone(err) || isOdd(err) {
			continue
		}
		if err != nil {
			return inv, err
		}
		keyType, ok := ulong(a[2])
		k := wire.Key{ID: a[0], Label: text(a[1]), Type: keyTypeName(keyType, ok)}
		seen[k.Label+"\x00"+string(k.ID)] = k
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
