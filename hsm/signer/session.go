package signer

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// session is a session with the token. A login belongs to all sessions of a
// process (PKCS#11 v2.40 §2.6), and ends with the last of them.
type session struct {
	mu      sync.Mutex // a session makes one call at a time
	ctx     *pkcs11.Ctx
	library library
	handle  pkcs11.SessionHandle
}

// openSession opens it for writing, though nothing is written: AWS CloudHSM's
// library refuses read-only sessions. A token that is write-protected has no others.
func (m *module) openSession(slot uint) (*session, error) {
	h, err := m.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if writeProtected(err) {
		h, err = m.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	}
	if err != nil {
		return nil, fmt.Errorf("open a session: %w", err)
	}
	return &session{ctx: m.ctx, library: m.calls, handle: h}, nil
}

// writeProtected reports whether a session was refused because it was to write
// (PKCS#11 v2.40 §5.6, C_OpenSession; libraries use other codes of the kind as well).
func writeProtected(err error) bool {
	rv, ok := returnValue(err)
	return ok && (rv == pkcs11.CKR_TOKEN_WRITE_PROTECTED || rv == pkcs11.CKR_SESSION_READ_ONLY || rv == pkcs11.CKR_SESSION_READ_ONLY_EXISTS)
}

// close returns the session. An error changes nothing for the caller: what it
// came for has been read.
func (s *session) close() { _ = s.ctx.CloseSession(s.handle) }

// object is an object's handle.
type object uint

// maxObjects is more than any token holds. A device that lists more repeats itself.
const maxObjects = 1 << 20

// find returns the objects that have the attributes, in the token's order.
func (s *session) find(template ...*pkcs11.Attribute) (found []object, err error) {
	if err := s.ctx.FindObjectsInit(s.handle, template); err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	defer func() {
		if e := s.ctx.FindObjectsFinal(s.handle); e != nil && err == nil {
			err = fmt.Errorf("list objects: %w", e)
		}
	}()
	seen := make(map[uint]bool)
	for {
		some, err := s.library.findObjects(s.handle)
		if err != nil {
			return nil, fmt.Errorf("list objects: %w", err)
		}
		if len(some) == 0 {
			return found, nil
		}
		before := len(found)
		for _, h := range some {
			if !seen[h] {
				seen[h] = true
				found = append(found, object(h))
			}
		}
		if len(found) == before || len(found) > maxObjects {
			return nil, odd("C_FindObjects lists the same objects again and again")
		}
	}
}

// read reads attributes of an object; nil is one that it lacks.
// A device that fails is asked again: there may be thousands of such calls, and one
// that fails now and then would never be read.
func (s *session) read(o object, types ...uint) (values [][]byte, err error) {
	for range 3 {
		values, err = s.library.attributes(s.handle, uint(o), types...)
		if rv, ok := returnValue(err); !ok || classOf(uint(rv)) != wire.Device {
			break
		}
	}
	return values, err
}

// gone says whether an object was deleted since it was listed.
func gone(err error) bool {
	rv, ok := returnValue(err)
	return ok && rv == pkcs11.CKR_OBJECT_HANDLE_INVALID
}

// certificates reads X.509 certificates. One that cannot be read as a whole is left out.
func (s *session) certificates(objects []object) ([]wire.Certificate, error) {
	var found []wire.Certificate
	for _, o := range objects {
		a, err := s.read(o, pkcs11.CKA_ID, pkcs11.CKA_LABEL, pkcs11.CKA_VALUE)
		switch {
		case gone(err) || isOdd(err):
			continue
		case err != nil:
			return nil, err
		}
		if c := (wire.Certificate{ID: a[0], Label: text(a[1]), DER: a[2]}); len(c.DER) > 0 {
			found = append(found, c)
		}
	}
	return found, nil
}

// ulong reads a CK_ULONG attribute, which is in the machine's byte order.
func ulong(b []byte) (uint, bool) {
	if len(b) != 8 {
		return 0, false
	}
	return uint(binary.NativeEndian.Uint64(b)), true
}

// isFalse is true for a CK_BBOOL that says so; an attribute that is not there
// leaves the decision to the token.
func isFalse(b []byte) bool { return len(b) == 1 && b[0] == 0 }

func isTrue(b []byte) bool { return len(b) == 1 && b[0] != 0 }
