package signer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// mac is a mechanism by which a secret key on the token can derive others.
type mac struct {
	name      string
	mechanism uint
	size      int // of its result, in bytes
}

var (
	hmacSHA256 = mac{"CKM_SHA256_HMAC", pkcs11.CKM_SHA256_HMAC, 32}
	aesCMAC    = mac{"CKM_AES_CMAC", pkcs11.CKM_AES_CMAC, 16}
)

// macOf is the MAC that a type of key is for.
func macOf(keyType uint) (mac, bool) {
	switch keyType {
	case pkcs11.CKK_GENERIC_SECRET, pkcs11.CKK_SHA256_HMAC:
		return hmacSHA256, true
	case pkcs11.CKK_AES:
		return aesCMAC, true
	}
	return mac{}, false
}

// secrets lists the token's secret keys and tries the MAC of each. Nothing is
// written to the token. An error means that the token could not be asked.
func (o *openToken) secrets() (wire.SecretList, error) {
	l := wire.SecretList{Keys: []wire.Secret{}}
	s, giveBack, err := o.borrow()
	if err != nil {
		return l, err
	}
	defer giveBack()
	handles, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY))
	if err != nil {
		return l, err
	}
	usable := false
	for _, h := range handles {
		k, err := s.secret(h)
		switch {
		case gone(err) || isOdd(err):
			continue
		case err != nil:
			return l, err
		}
		usable = usable || k.Reason == ""
		l.Keys = append(l.Keys, k)
	}
	slices.SortFunc(l.Keys, func(a, b wire.Secret) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), bytes.Compare(a.ID, b.ID))
	})
	if !usable {
		l.SessionKeys = s.trySessionKeys()
	}
	return l, nil
}

// secret describes the secret key h and tries its MAC.
func (s *session) secret(h object) (wire.Secret, error) {
	a, err := s.read(h, pkcs11.CKA_ID, pkcs11.CKA_LABEL, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_SIGN, pkcs11.CKA_EXTRACTABLE)
	if err != nil {
		return wire.Secret{}, err
	}
	k := wire.Secret{ID: a[0], Label: text(a[1]), Extractable: isTrue(a[4])}
	keyType, ok := ulong(a[2])
	forbidden := isFalse(a[3])
	k.Type = secretTypeName(keyType, ok)
	m, fit := macOf(keyType)
	switch {
	case !ok:
		k.Reason = "its CKA_KEY_TYPE cannot be read"
	case !fit:
		k.Reason = "keys of this type make no MAC that is of use here"
	case forbidden:
		k.Mechanism, k.Reason = m.name, "its CKA_SIGN is false"
	default:
		s.try(&k, h, m)
	}
	return k, nil
}

// try makes three MACs, of which two must be the same, and notes the pace of the last.
func (s *session) try(k *wire.Secret, h object, m mac) {
	k.Mechanism = m.name
	first, err := s.mac(h, m, []byte("sallyport test MAC"))
	if err == nil {
		var other, again []byte
		if other, err = s.mac(h, m, []byte("sallyport other test MAC")); err == nil {
			began := time.Now()
			again, err = s.mac(h, m, []byte("sallyport test MAC"))
			k.Took = time.Since(began)
		}
		switch {
		case err != nil:
		case len(first) != m.size:
			err = fmt.Errorf("its MAC has %d bytes, not %d", len(first), m.size)
		case !bytes.Equal(first, again):
			err = errors.New("it gives another MAC each time")
		case bytes.Equal(first, other):
			err = errors.New("it gives the same MAC for whatever is asked")
		}
	}
	if err != nil {
		k.Reason = err.Error()
	}
}

// mac is a single-part C_Sign.
func (s *session) mac(h object, m mac, message []byte) ([]byte, error) {
	return s.library.sign(s.handle, m.mechanism, nil, uint(h), message, m.size)
}

// sessionKeys are the secret keys that a trial can make.
var sessionKeys = []struct {
	mac       mac
	keyType   uint
	mechanism uint
}{
	{hmacSHA256, pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_GENERIC_SECRET_KEY_GEN},
	{aesCMAC, pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_GEN},
}

// trySessionKeys tries each MAC with a key made for it. Such a key is an object
// of this session alone: it is never on the token, and gone with the session at
// the latest.
func (s *session) trySessionKeys() []wire.Secret {
	var tried []wire.Secret
	for _, t := range sessionKeys {
		k := wire.Secret{Type: secretTypeName(t.keyType, true), Mechanism: t.mac.name}
		h, err := s.ctx.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(t.mechanism, nil)}, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, t.keyType),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
			pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
			pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
		})
		if err != nil {
			k.Reason = fmt.Sprintf("no key could be made for the trial: %v", err)
		} else {
			s.try(&k, object(h), t.mac)
			if err := s.ctx.DestroyObject(s.handle, h); err != nil && k.Reason == "" {
				k.Reason = fmt.Sprintf("the trial's key could not be destroyed, and goes with its session: %v", err)
			}
		}
		tried = append(tried, k)
	}
	return tried
}

func secretTypeName(keyType uint, known bool) string {
	names := map[uint]string{
		pkcs11.CKK_GENERIC_SECRET: "generic", pkcs11.CKK_AES: "AES", pkcs11.CKK_SHA256_HMAC: "HMAC-SHA-256",
		pkcs11.CKK_DES3: "3DES",
	}
	if name, ok := names[keyType]; ok && known {
		return name
	}
	return fmt.Sprintf("key type %#x", keyType)
}
