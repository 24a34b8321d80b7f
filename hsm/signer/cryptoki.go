package signer

/*
#include <stddef.h>
#include <string.h>

typedef unsigned long ulong;

// As PKCS#11 v2.40 lays them out on every Unix (pkcs11t.h).
struct attribute { ulong type; void *value; ulong length; };
struct mechanism { ulong type; const void *parameter; ulong length; };
struct functions { unsigned char version[2]; void (*at[68])(void); };

// Places in CK_FUNCTION_LIST (v2.40 §3.6), from C_Initialize at 0.
enum { GET_SLOT_LIST = 4, GET_MECHANISM_LIST = 7, GET_ATTRIBUTE_VALUE = 24, FIND_OBJECTS = 27, SIGN_INIT = 42, SIGN = 43 };

enum { MOST_ATTRIBUTES = 16, MOST_SIGNATURE = 16384 / 8, BUFFER_TOO_SMALL = 0x150 };

static ulong get_slot_list(const struct functions *f, ulong *slots, ulong *n)
{
	ulong (*call)(unsigned char, ulong *, ulong *) = (void *)f->at[GET_SLOT_LIST];
	ulong room = *n;
	// Without a list the library looks for what was plugged in since (§5.5).
	ulong rv = call(1, NULL, n);
	if (rv != 0)
		return rv;
	*n = room;
	return call(1, slots, n);
}

static ulong get_mechanism_list(const struct functions *f, ulong slot, ulong *mechanisms, ulong *n)
{
	ulong (*call)(ulong, ulong *, ulong *) = (void *)f->at[GET_MECHANISM_LIST];
	return call(slot, mechanisms, n);
}

static ulong find_objects(const struct functions *f, ulong session, ulong *objects, ulong room, ulong *n)
{
	ulong (*call)(ulong, ulong *, ulong, ulong *) = (void *)f->at[FIND_OBJECTS];
	return call(session, objects, room, n);
}

// get_attributes reads n attributes into buffer, one behind the other, each with
// the room that its length says. A buffer of NULL asks for the lengths alone.
static ulong get_attributes(const struct functions *f, ulong session, ulong object, ulong n, const ulong *types, ulong *lengths, unsigned char *buffer)
{
	ulong (*call)(ulong, ulong, struct attribute *, ulong) = (void *)f->at[GET_ATTRIBUTE_VALUE];
	struct attribute a[MOST_ATTRIBUTES];
	for (ulong i = 0; i < n; i++) {
		a[i] = (struct attribute){types[i], buffer, buffer == NULL ? 0 : lengths[i]};
		if (buffer != NULL)
			buffer += lengths[i];
	}
	ulong rv = call(session, object, a, n);
	for (ulong i = 0; i < n; i++)
		lengths[i] = a[i].length;
	return rv;
}

static ulong sign(const struct functions *f, ulong session, ulong mechanism, const void *parameter, ulong parameter_length, ulong key,
	unsigned char *data, ulong length, unsigned char *signature, ulong *signature_length)
{
	ulong (*init)(ulong, struct mechanism *, ulong) = (void *)f->at[SIGN_INIT];
	ulong (*call)(ulong, unsigned char *, ulong, unsigned char *, ulong *) = (void *)f->at[SIGN];
	struct mechanism m = {mechanism, parameter, parameter_length};
	ulong rv = init(session, &m, key);
	if (rv != 0)
		return rv;
	rv = call(session, data, length, signature, signature_length);
	if (rv == BUFFER_TOO_SMALL) {
		// The operation goes on until the signature has room (v2.40 §5.2), and its
		// session makes no other one before.
		unsigned char rest[MOST_SIGNATURE];
		ulong room = sizeof rest;
		call(session, data, length, rest, &room);
	}
	return rv;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// library is a module's list of functions, for the calls by which a device says
// how much it has to give. miekg/pkcs11 allocates and reads by these numbers as
// they come: a count that is too large panics or reads what is not the device's.
// Here each has a buffer of a fixed size, and a number beyond it is an error.
type library struct{ functions *C.struct_functions }

// libraryOf is the library that c has loaded. miekg/pkcs11 does not show it, so
// it is taken from private fields; a release that moves them fails every test. To
// ask the library once more is no way: p11-kit's gives each that asks a list with an
// initialisation, sessions and logins of its own.
func libraryOf(c *pkcs11.Ctx) library {
	ctx := (*struct {
		handle    unsafe.Pointer
		functions *C.struct_functions
	})(reflect.ValueOf(c).Elem().FieldByName("ctx").UnsafePointer())
	return library{ctx.functions}
}

// unavailable is CK_UNAVAILABLE_INFORMATION.
const unavailable = ^uint(0)

// oddity is the error of a device that gives a number which cannot be.
type oddity string

func (o oddity) Error() string { return string(o) }

func odd(format string, args ...any) error { return oddity(fmt.Sprintf(format, args...)) }

// isOdd says whether a number of the device's is the reason for err.
func isOdd(err error) bool { return errors.As(err, new(oddity)) }

func returned(rv C.ulong) error {
	if rv == pkcs11.CKR_OK {
		return nil
	}
	return pkcs11.Error(rv)
}

// list has call fill a list with room for most numbers.
func listOf(name string, most int, call func(list *C.ulong, n *C.ulong) C.ulong) ([]uint, error) {
	all := make([]uint, most)
	n := C.ulong(most)
	err := returned(call((*C.ulong)(unsafe.Pointer(&all[0])), &n))
	switch {
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_BUFFER_TOO_SMALL)), err == nil && n > C.ulong(most):
		return nil, odd("%s speaks of %d entries, where %d are more than there can be", name, uint(n), most)
	case err != nil:
		return nil, err
	}
	return all[:n], nil
}

const (
	mostSlots      = 4096
	mostMechanisms = 4096
	mostFound      = 256 // objects by one call of C_FindObjects
)

// slots lists the slots that hold a token.
func (l library) slots() ([]uint, error) {
	return listOf("C_GetSlotList", mostSlots, func(list, n *C.ulong) C.ulong { return C.get_slot_list(l.functions, list, n) })
}

// mechanisms lists the types of mechanism that a slot's token has.
func (l library) mechanisms(slot uint) ([]uint, error) {
	return listOf("C_GetMechanismList", mostMechanisms, func(list, n *C.ulong) C.ulong {
		return C.get_mechanism_list(l.functions, C.ulong(slot), list, n)
	})
}

// findObjects returns the next objects of a search; none: there are no more.
func (l library) findObjects(s pkcs11.SessionHandle) ([]uint, error) {
	return listOf("C_FindObjects", mostFound, func(list, n *C.ulong) C.ulong {
		return C.find_objects(l.functions, C.ulong(s), list, mostFound, n)
	})
}

// Rooms for attributes: what most have, and what none needs more than.
const (
	usualAttribute = 2048
	mostAttribute  = 1 << 20
)

// attributes reads attributes of an object. One that the object lacks, or that is
// not for us, is nil. Many libraries fail the whole call for one of these, so the
// others are then asked for one by one.
func (l library) attributes(s pkcs11.SessionHandle, object uint, types ...uint) ([][]byte, error) {
	values, err := l.together(s, object, types, usualAttribute)
	if err == nil || !lacking(err) {
		return values, err
	}
	values = make([][]byte, len(types))
	for i, t := range types {
		if values[i], err = l.attribute(s, object, t); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// attribute reads one attribute, of whatever length.
func (l library) attribute(s pkcs11.SessionHandle, object, attribute uint) ([]byte, error) {
	kind, n := C.ulong(attribute), C.ulong(0)
	err := returned(C.get_attributes(l.functions, C.ulong(s), C.ulong(object), 1, &kind, &n, nil))
	switch {
	case err != nil && lacking(err), err == nil && uint(n) == unavailable:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read attribute %#x: %w", attribute, err)
	case n > mostAttribute:
		return nil, odd("C_GetAttributeValue gives %d bytes as the length of attribute %#x", uint(n), attribute)
	}
	values, err := l.together(s, object, []uint{attribute}, int(n))
	if err != nil {
		if lacking(err) {
			return nil, nil
		}
		return nil, err
	}
	return values[0], nil
}

// together reads attributes by one call, each with the same room.
func (l library) together(s pkcs11.SessionHandle, object uint, types []uint, room int) ([][]byte, error) {
	if len(types) == 0 || len(types) > C.MOST_ATTRIBUTES {
		return nil, fmt.Errorf("%d attributes at once", len(types))
	}
	lengths := make([]uint, len(types))
	for i := range lengths {
		lengths[i] = uint(room)
	}
	buffer := make([]byte, max(1, room*len(types)))
	err := returned(C.get_attributes(l.functions, C.ulong(s), C.ulong(object), C.ulong(len(types)),
		(*C.ulong)(unsafe.Pointer(&types[0])), (*C.ulong)(unsafe.Pointer(&lengths[0])), (*C.uchar)(unsafe.Pointer(&buffer[0]))))
	if err != nil {
		return nil, fmt.Errorf("read attributes %#x: %w", types, err)
	}
	values := make([][]byte, len(types))
	for i, n := range lengths {
		switch {
		case n == unavailable:
		case n > uint(room):
			return nil, odd("C_GetAttributeValue gives %d bytes as the length of attribute %#x", n, types[i])
		default:
			values[i] = append([]byte{}, buffer[i*room:][:n]...)
		}
	}
	return values, nil
}

// lacking says whether an attribute is not there, not for us, or longer than its
// room, rather than the token not well (PKCS#11 v2.40 §5.7, C_GetAttributeValue).
func lacking(err error) bool {
	rv, ok := returnValue(err)
	return ok && (rv == pkcs11.CKR_ATTRIBUTE_TYPE_INVALID || rv == pkcs11.CKR_ATTRIBUTE_SENSITIVE || rv == pkcs11.CKR_BUFFER_TOO_SMALL)
}

// sign is C_SignInit and a single-part C_Sign, of a signature with at most so many bytes.
func (l library) sign(s pkcs11.SessionHandle, mechanism uint, parameter []byte, key uint, data []byte, most int) ([]byte, error) {
	signature := make([]byte, most)
	n := C.ulong(most)
	err := returned(C.sign(l.functions, C.ulong(s), C.ulong(mechanism), unsafe.Pointer(unsafe.SliceData(parameter)), C.ulong(len(parameter)),
		C.ulong(key), (*C.uchar)(unsafe.SliceData(data)), C.ulong(len(data)), (*C.uchar)(unsafe.SliceData(signature)), &n))
	switch {
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_BUFFER_TOO_SMALL)), err == nil && n > C.ulong(most):
		return nil, odd("it has %d bytes, where there can be %d", uint(n), most)
	case err != nil:
		return nil, err
	}
	return signature[:n], nil
}
