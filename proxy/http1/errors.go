package http1

import "errors"

// Error is what is wrong with a request: the status to answer it with, and a
// reason for logs that holds nothing of what the client sent. All are static.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// Broken is what is wrong with a backend's answer. It never reaches a client;
// its Status means nothing.
type Broken Error

func (e *Broken) Error() string { return "the backend broke its answer: " + e.Reason }

// What is wrong with a head or with a body's framing. Where the message is an
// answer these come as *Broken.
var (
	errGarbage       = &Error{400, "not a request line"}
	errStatusLine    = &Error{400, "not a status line"}
	errMethod        = &Error{400, "malformed method"}
	errTarget        = &Error{400, "malformed target"}
	errAuthority     = &Error{400, "the target's authority is not the Host"}
	errVersion       = &Error{400, "malformed version"}
	errBareLF        = &Error{400, "a line that ends without CR"}
	errFold          = &Error{400, "folded field line"}
	errName          = &Error{400, "malformed field name"}
	errUnderscore    = &Error{400, "field name with an underscore"}
	errValue         = &Error{400, "control character in a field value"}
	errNoHost        = &Error{400, "no Host"}
	errTwoHosts      = &Error{400, "more than one Host"}
	errHost          = &Error{400, "malformed Host"}
	errLength        = &Error{400, "malformed Content-Length"}
	errTwoLengths    = &Error{400, "more than one Content-Length"}
	errLengthCoding  = &Error{400, "Content-Length with Transfer-Encoding"}
	errCoding        = &Error{400, "Transfer-Encoding that does not end the message"}
	errCodingOld     = &Error{400, "Transfer-Encoding in HTTP/1.0"}
	errOptions       = &Error{400, "too many connection options"}
	errConnectBody   = &Error{400, "CONNECT with a body"}
	errChunkSize     = &Error{400, "malformed chunk size"}
	errChunkEnd      = &Error{400, "chunk without its end"}
	errExtension     = &Error{400, "malformed or overlong chunk extension"}
	errTrailer       = &Error{400, "field that must not be a trailer"}
	errSlow          = &Error{408, "head too slow"}
	errScheme        = &Error{421, "the target's scheme is not the connection's"}
	errTargetLong    = &Error{414, "target too long"}
	errExpect        = &Error{417, "unknown expectation"}
	errHeadLong      = &Error{431, "head too long"}
	errManyFields    = &Error{431, "too many fields"}
	errCodingUnknown = &Error{501, "unknown transfer coding"}
	errVersionOther  = &Error{505, "version not supported"}
)

// What only an answer can be.
var (
	errSwitch    = &Error{Reason: "it switched protocols unasked"}
	errManyHeads = &Error{Reason: "too many interim responses within a short time"}
)

// Misuse by the caller, and what ends a connection.
var (
	// ErrIdle says that the client sent no request within the idle timeout.
	ErrIdle = errors.New("http1: idle for too long")
	// ErrQuiet says that no request has come for some seconds. Nothing is wrong.
	ErrQuiet = errors.New("http1: quiet for a while")
	// ErrUnanswered says that an exchange was left before its answer was whole.
	ErrUnanswered = errors.New("http1: the exchange was not answered")
	// ErrAnswered is what the rest of a request's body gives once its answer is whole.
	ErrAnswered = errors.New("http1: the request is answered")
	// ErrReset is what an exchange gives that was reset.
	ErrReset = errors.New("http1: reset")
	// ErrHead refuses a head that could not be read back as it was meant.
	// Nothing of it was sent.
	ErrHead = errors.New("http1: a head that must not be written")
	// ErrUnasked says that a backend closed its connection, or said something, before
	// it was asked. Nothing was sent.
	ErrUnasked = errors.New("http1: the backend closed the connection or spoke before it was asked")
	// ErrLength says that a body is not as long as its head said.
	ErrLength = errors.New("http1: body of another length than its head says")
)
