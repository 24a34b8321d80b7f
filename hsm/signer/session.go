package signer

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// session is a read-only session of its own, apart from crypto11's, to look at
// objects. A login belongs to all sessions of a process (PKCS#11 v2.40 §2.6),
// so it sees private objects once crypto11 has logged in.
type session struct {
	ctx    *pkcs11.Ctx
	handle pkcs11.SessionHandle
}

func (m *module) openSession(slot uint) (session, error) {
	h, err := m.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return session{}, fmt.Errorf("open a session: %w", err)
	}
	return session{m.ctx, h}, nil
}

// close returns the session. An error changes nothing for the caller: what it
// came for has been read.
func (s session) close() { _ = s.ctx.CloseSession(s.handle) }

// find returns the objects of a class.
func (s session) find(class uint) (found []pkcs11.ObjectHandle, err error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if err := s.ctx.FindObjectsInit(s.handle, template); err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	defer func() {
		if e := s.ctx.FindObjectsFinal(s.handle); e != nil && err == nil {
			err = fmt.Errorf("list objects: %w", e)
		}
	}()
	for {
		some, _, err := s.ctx.FindObjects(s.handle, 64)
		if err != nil {
			return nil, fmt.Errorf("list objects: %w", err)
		}
		if len(some) == 0 {
			return found, nil
		}
		if found = append(found, some...); len(found) > maxObjects {
			return nil, setup("the token holds more than %d objects of one class", maxObjects)
		}
	}
}

// certificates returns the token's X.509 certificates.
func (s session) certificates() ([]wire.Certificate, error) {
	handles, err := s.find(pkcs11.CKO_CERTIFICATE)
	if err != nil {
		return nil, err
	}
	var found []wire.Certificate
	for _, h := range handles {
		if der := s.bytes(h, pkcs11.CKA_VALUE); len(der) > 0 {
			found = append(found, wire.Certificate{
				ID: s.bytes(h, pkcs11.CKA_ID), Label: string(s.bytes(h, pkcs11.CKA_LABEL)), DER: der,
			})
		}
	}
	return found, nil
}

// bytes reads one attribute. Attributes are read one by one, since many
// libraries fail the whole call for one that an object lacks; such a one is nil.
func (s session) bytes(h pkcs11.ObjectHandle, attribute uint) []byte {
	got, err := s.ctx.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if err != nil || len(got) != 1 {
		return nil
	}
	return got[0].Value
}

// ulong reads a CK_ULONG attribute, which is in the machine's byte order.
func (s session) ulong(h pkcs11.ObjectHandle, attribute uint) (uint, bool) {
	b := s.bytes(h, attribute)
	if len(b) != 8 {
		return 0, false
	}
	return uint(binary.NativeEndian.Uint64(b)), true
}

// isFalse is true for a CK_BBOOL that says so; an attribute that is not there
// leaves the decision to the token.
func isFalse(b []byte) bool { return len(b) == 1 && b[0] == 0 }
