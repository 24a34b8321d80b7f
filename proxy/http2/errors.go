package http2

import (
	"errors"
	"fmt"

	"golang.org/x/net/http2"
)

// Errors of an exchange or a call, to be looked for with errors.Is.
var (
	// ErrOver is what a method says after its exchange or call has ended.
	ErrOver = errors.New("http2: the exchange is over")
	// ErrUnprocessed says that a backend has not begun to work on a call, which
	// may therefore be made again elsewhere (RFC 9113 §8.7).
	ErrUnprocessed = errors.New("http2: the backend did not process the call")
	// ErrNoRoom says that a connection takes no call now.
	ErrNoRoom = errors.New("http2: no room for another call on the connection")
	// ErrNoTunnel says that a backend takes no extended CONNECT (RFC 8441 §3).
	ErrNoTunnel = errors.New("http2: the backend makes no tunnels")
	// ErrNothing says that a call was waited on for Config.Look and had nothing
	// to read. It is as good as before.
	ErrNothing = errors.New("http2: nothing to read yet")
	// ErrMalformed says that a message broke the rules, for which its stream was reset
	// (RFC 9113 §8.1.1).
	ErrMalformed = errors.New("http2: the peer broke its message")
	// ErrStopped says that a backend has answered, and wants no more of the
	// request. Its answer is as good as any (RFC 9113 §8.1).
	ErrStopped = errors.New("http2: the backend wants no more of the request")

	// ErrNoMemory says that a body was broken off: nobody read it, and memory is short.
	ErrNoMemory = errors.New("http2: memory is short")

	errGone     = errors.New("http2: the peer closed the connection")
	errClosed   = errors.New("http2: the connection was closed")
	errAborted  = errors.New("http2: the stream was reset at this end")
	errAnswered = errors.New("http2: the request was answered before it was whole")
	errLength   = errors.New("http2: body and content-length differ")
	errMisuse   = errors.New("http2: head, body and end out of order")
)

// ResetError is a stream's end by RST_STREAM, sent by the peer.
type ResetError struct{ Code http2.ErrCode }

func (e *ResetError) Error() string { return fmt.Sprintf("http2: peer reset the stream: %v", e.Code) }

// Is makes a stream that was refused one that was not processed.
func (e *ResetError) Is(target error) bool {
	return target == ErrUnprocessed && e.Code == http2.ErrCodeRefusedStream
}

// ConnError is the end of a connection whose peer broke a rule, or went beyond a
// bound. Code is what it was told with GOAWAY.
type ConnError struct {
	Code   http2.ErrCode
	Reason string
}

func (e *ConnError) Error() string { return fmt.Sprintf("http2: %s (%v)", e.Reason, e.Code) }

// unprocessedError is a reason for which a call was not processed.
type unprocessedError struct{ reason error }

func (e *unprocessedError) Error() string { return ErrUnprocessed.Error() + ": " + e.reason.Error() }

func (e *unprocessedError) Is(target error) bool { return target == ErrUnprocessed }

func (e *unprocessedError) Unwrap() error { return e.reason }

// GoAwayError is the end of a connection that its peer announced.
type GoAwayError struct{ Code http2.ErrCode }

func (e *GoAwayError) Error() string { return fmt.Sprintf("http2: peer goes away: %v", e.Code) }

// timeoutError is a wait without progress.
type timeoutError string

func (e timeoutError) Error() string { return "http2: " + string(e) }

// Timeout implements what net.Error has.
func (timeoutError) Timeout() bool { return true }

const (
	errReadSlow  = timeoutError("body without progress")
	errWriteSlow = timeoutError("peer reads too slowly")
	errDead      = timeoutError("peer does not answer PING")
)

// streamError ends a stream and leaves its connection alone.
type streamError struct {
	code   http2.ErrCode
	reason string
}

func (e *streamError) Error() string { return e.reason }

func (e *streamError) Is(target error) bool { return target == ErrMalformed }

// malformed is what RFC 9113 §8.1.1 calls so.
func malformed(reason string) *streamError {
	return &streamError{http2.ErrCodeProtocol, reason}
}

// broken is a connection error of type PROTOCOL_ERROR.
func broken(reason string) *ConnError {
	return &ConnError{http2.ErrCodeProtocol, reason}
}
