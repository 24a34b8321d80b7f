package signer

import (
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// A failure is the wire's, built up in words.
type failure struct{ wire.Failure }

func (f *failure) Error() string { return f.Cause }

func (f *failure) hint(format string, args ...any) *failure {
	f.Hint = fmt.Sprintf(format, args...)
	return f
}

// of names the setting that is to blame.
func (f *failure) of(setting string) *failure {
	f.Setting = setting
	return f
}

// failed turns any error into the failure that the serving process gets. What
// is no PKCS#11 error and was not built as a failure is the request's own.
func failed(err error) *wire.Failure {
	var f *failure
	if errors.As(err, &f) {
		return &f.Failure
	}
	if rv, ok := returnValue(err); ok {
		return &wire.Failure{Class: classOf(uint(rv)), Code: uint64(rv), Cause: err.Error()}
	}
	if isOdd(err) {
		return &wire.Failure{Class: wire.Device, Cause: err.Error()}
	}
	return &wire.Failure{Class: wire.Request, Cause: err.Error()}
}

// returnValue finds the CK_RV in err. crypto11 wraps with a release of
// github.com/pkg/errors that knows Cause but not yet Unwrap, so errors.As alone
// does not see through it.
func returnValue(err error) (pkcs11.Error, bool) {
	for err != nil {
		var rv pkcs11.Error
		if errors.As(err, &rv) {
			return rv, true
		}
		err = causeOf(err)
	}
	return 0, false
}

// causeOf returns the cause of the outermost error in err's chain that has one.
func causeOf(err error) error {
	var c interface{ Cause() error }
	if errors.As(err, &c) {
		return c.Cause()
	}
	return nil
}

// classOf sorts the return values of PKCS#11 v2.40 §5.1.6 by what can be done
// about them. What the list lacks (vendors' own codes too) counts as the
// device's, since a new process is the remedy that helps most often.
func classOf(rv uint) wire.Class {
	switch rv {
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE,
		pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED,
		pkcs11.CKR_USER_TYPE_INVALID, pkcs11.CKR_USER_TOO_MANY_TYPES:
		return wire.PIN
	case pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_SESSION_COUNT,
		// crypto11 keeps handles for ever, and a device that fails over may
		// have new ones. A key that is really gone is not found again.
		pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID,
		pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_OPERATION_ACTIVE, pkcs11.CKR_OPERATION_NOT_INITIALIZED:
		return wire.Session
	case pkcs11.CKR_ARGUMENTS_BAD, pkcs11.CKR_BUFFER_TOO_SMALL,
		pkcs11.CKR_ATTRIBUTE_SENSITIVE, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID,
		pkcs11.CKR_TEMPLATE_INCOMPLETE, pkcs11.CKR_TEMPLATE_INCONSISTENT,
		pkcs11.CKR_DATA_INVALID, pkcs11.CKR_DATA_LEN_RANGE,
		pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED,
		pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_FUNCTION_NOT_SUPPORTED:
		return wire.Request
	}
	return wire.Device
}
