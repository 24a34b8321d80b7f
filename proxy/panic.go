package proxy

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
)

// What a panic ends, as logs and metrics have it. A panic is a mistake of this
// program's, and costs whoever has met it, and nobody else.
const (
	inHandshake  = "handshake"
	inConnection = "connection" // to a client, in its codec
	inRequest    = "request"
	inUpload     = "upload"
	inTunnel     = "tunnel"
	inBackend    = "backend" // a connection to one by HTTP/2

	// These belong to nobody: what panicked is passed over, and the rest goes on.
	inAccept  = "accept"
	inSweep   = "sweep"
	inTickets = "tickets"
	inDrain   = "drain"
)

var panicPlaces = []string{inHandshake, inConnection, inRequest, inUpload, inTunnel, inBackend, inAccept, inSweep, inTickets, inDrain}

// errPanicked is what becomes of a request whose goroutine, or one that worked for
// it, has panicked.
var errPanicked = &failure{http.StatusInternalServerError, "internal error"}

// caught is deferred by each goroutine that serves somebody, and by each request. It
// recovers a panic, writes it down, and calls then, which gives back what was
// held. Memory that was in use is left to the garbage collector: nobody knows who
// has it.
func (s *Server) caught(place string, then func()) {
	if v := recover(); v != nil {
		s.panicked(place, v)
		defer s.caught(place, func() {}) // what is given back may be what was broken
		then()
	}
}

// guarded calls do, and goes on where that panics.
func (s *Server) guarded(place string, do func()) {
	defer s.caught(place, func() {})
	do()
}

// panicked writes a panic down, from the deferred function that has recovered it.
func (s *Server) panicked(place string, value any) {
	s.metrics.panics.WithLabelValues(place).Inc()
	s.log.Error("panic", "in", place, "value", panicText(value), "stack", string(debug.Stack()))
}

// panicText is what a log may have of a panic's value. The runtime's own tell of numbers
// and types; any other may hold what a client has sent, so that its type has to do.
func panicText(value any) string {
	if err, ok := value.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", value)
}

// panicked ends a request whose goroutine has panicked: what it had of a backend goes
// back, and the client gets an answer or, if one has begun, the end of it.
func (x *exchange) panicked() {
	x.spoilt = true
	x.waits.in(nil)
	if k := x.link; k != nil {
		x.link = nil
		k.release(false)
	}
	if f := x.trying; f != nil {
		x.trying = nil
		f.Balancer.Release(x.ticket, context.Canceled)
		f.unpick(x)
	}
	x.in.LastOfOne = true
	if x.status != 0 {
		x.breakOff()
	}
	x.fail(errPanicked)
}
