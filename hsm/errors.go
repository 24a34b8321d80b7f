package hsm

import (
	"errors"
	"fmt"

	"sallyport/hsm/wire"
)

// The errors of a token. All of them can be told apart by errors.Is.
var (
	// ErrDown: the token cannot be reached at present.
	ErrDown = errors.New("token is down")
	// ErrPIN: the token refused the PIN, or may count lost logins as wrong ones;
	// it is not tried again.
	ErrPIN = errors.New("PIN refused")
	// ErrTimeout: no turn, or no answer, within the sign timeout.
	ErrTimeout = errors.New("token did not answer in time")
	// ErrNoKey: no key of the token is what a URI names.
	ErrNoKey = errors.New("no such key")
	// ErrUnfit: the key or the certificate cannot be served.
	ErrUnfit = errors.New("unfit to be served")
)

// Error is an error with what to do about it.
type Error struct {
	Err  error // one of the above, or a *wire.Failure
	Text string
	Hint string // may be empty

	Setting string // the key of the token's settings that is to blame; may be empty
}

func (e *Error) Error() string { return e.Text }

// Unwrap makes errors.Is and errors.As see the cause.
func (e *Error) Unwrap() error { return e.Err }

func problem(err error, hint, format string, args ...any) *Error {
	return &Error{Err: err, Text: fmt.Sprintf(format, args...), Hint: hint}
}

// outward turns what the signer process said into this package's errors.
func outward(err error) error {
	var f *wire.Failure
	if !errors.As(err, &f) {
		return err
	}
	cause := error(f)
	if f.Class == wire.PIN {
		cause = ErrPIN
	}
	return &Error{Err: cause, Text: f.Cause, Hint: f.Hint, Setting: f.Setting}
}

// hintIn returns what err says can be done about it, or "".
func hintIn(err error) string {
	if e := new(Error); errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

// isUnfit reports whether err is about the key or the certificate itself.
func isUnfit(err error) bool { return errors.Is(err, ErrUnfit) }

// class is what err means for the token; an end of the process counts as the device's.
func class(err error) wire.Class {
	var f *wire.Failure
	if errors.As(err, &f) {
		return f.Class
	}
	return wire.Device
}

// Absent says whether err, which kept a token from coming up, is one that time
// may mend: the token is not there yet, does not answer, or says itself that its
// device fails. A refused PIN, a wrong setting and a library that crashes are not.
func Absent(err error) bool {
	var f *wire.Failure
	return errors.Is(err, ErrTimeout) || errors.As(err, &f) && f.Class == wire.Device
}
