package proxy

import (
	"context"
	"time"

	"sallyport/proxy/message"
)

// link is a request's way to a backend: a connection to itself with HTTP/1.1, a
// stream of a shared one with HTTP/2. What waits in it is woken by interrupt; it is
// then, as after a failure, good for nothing but release.
type link interface {
	message.Call
	interrupt()
	// again says which requests may be made once more, by another link, now
	// that this one has failed with err.
	again(err error) again
	// release ends the use of the link. well says that the exchange did.
	release(well bool)
}

// finisher is a link that can be released before its response has been written to the client,
// who may send the next request as soon as it has the last byte. finish reports whether that was
// done: the link and what it gave are not to be used any more then, but for the head's
// fields and the trailers, until x.loan is freed.
type finisher interface {
	finish(x *exchange) bool
}

// again says which requests may be made once more.
type again uint8

const (
	none           again = iota
	idempotentOnes       // the connection was kept and is dead, and nothing of an answer came
	all                  // nothing was sent, or the backend says that it has not begun to work on it
)

// links makes those of one pool. It does not know which backend is up: the
// Balancer does.
type links interface {
	// take returns a link by a connection that stands already, or nil.
	take(x *exchange, address string) link
	// dial makes a connection if it has to, within the connect timeout. Nothing was
	// sent where it fails. Where it takes long it asks other, now and then, whether the request
	// has another backend to try, and fails with errMoved if it has: x.handed says whether
	// the dial goes on and has the try's ticket.
	dial(x *exchange, address string, other func() bool) (link, error)
	// probe makes a connection as dial does, for no request.
	probe(ctx context.Context, address string) error
	// sweep closes connections that have been idle for too long.
	sweep(now time.Time)
	// interrupt wakes all requests that wait for a backend, and makes no
	// connections any more.
	interrupt()
	// close closes the idle connections, and each other one when it is
	// released. It waits for the goroutines that serve them.
	close()
}

// newLinks returns those for a pool whose defaults are filled in.
func newLinks(p Pool, s *Server) links {
	if p.Protocol == H2C {
		return newSharedConns(p, s)
	}
	return newConnections(p, s)
}
