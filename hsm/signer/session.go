package signer

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// session is a session of its own, apart from crypto11's, to log in and to look
// at objects. A login belongs to all sessions of a process (PKCS#11 v2.40 §2.6).
type session struct {
	ctx    *pkcs11.Ctx
	handle pkcs11.SessionHandle
}

// openSession opens it for writing, as crypto11 does, though nothing is written:
// AWS CloudHSM's library refuses read-only sessions.
func (m *module) openSession(slot uint) (session, error) {
	h, err := m.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
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
		a := attributes{s, h, nil}
		c := wire.Certificate{
			ID: a.bytes(pkcs11.CKA_ID), Label: text(a.bytes(pkcs11.CKA_LABEL)), DER: a.bytes(pkcs11.CKA_VALUE),
		}
		if a.err != nil {
			return nil, a.err
		}
		if len(c.DER) > 0 {
			found = append(found, c)
		}
	}
	return found, nil
}

// attributes reads an object's attributes, one by one, since many libraries
// fail the whole call for one that the object lacks. Such a one is nil. Any
// other failure stays in err: half an object must not be taken for a whole one.
type attributes struct {
	session session
	object  pkcs11.ObjectHandle
	err     error
}

func (a *attributes) bytes(attribute uint) []byte {
	if a.err != nil {
		return nil
	}
	got, err := a.session.ctx.GetAttributeValue(a.session.handle, a.object, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if rv, ok := returnValue(err); ok && lacking(rv) {
		return nil
	}
	if err != nil {
		a.err = fmt.Errorf("read attribute %#x: %w", attribute, err)
		return nil
	}
	if len(got) != 1 {
		return nil
	}
	return got[0].Value
}

// lacking says whether an attribute is not there, or not for us, rather than
// the token not well (PKCS#11 v2.40 §5.7, C_GetAttributeValue).
func lacking(rv pkcs11.Error) bool {
	return rv == pkcs11.CKR_ATTRIBUTE_TYPE_INVALID || rv == pkcs11.CKR_ATTRIBUTE_SENSITIVE
}

// ulong reads a CK_ULONG attribute, which is in the machine's byte order.
func (a *attributes) ulong(attribute uint) (uint, bool) {
	b := a.bytes(attribute)
	if len(b) != 8 {
		return 0, false
	}
	return uint(binary.NativeEndian.Uint64(b)), true
}

// isFalse is true for a CK_BBOOL that says so; an attribute that is not there
// leaves the decision to the token.
func isFalse(b []byte) bool { return len(b) == 1 && b[0] == 0 }

func isTrue(b []byte) bool { return len(b) == 1 && b[0] != 0 }
