// Package proxy terminates TLS and forwards requests to backends.
//
// # A request's way
//
// Each step is a file; reading them in this order is reading the package.
//
//	accept.go     a connection is accepted, at most MaxConnections a listener
//	handshake.go  its own goroutine does the TLS handshake within a timeout;
//	              tlspolicy.go, site.go and ticket.go say with which
//	              tls.Config: one a site and policy, chosen by SNI
//	rehearsal.go  a first try that can be made again when a signature fails
//	handoff.go    the finished connection goes to the listener's http.Server
//	handler.go    the request is admitted: method, authority (421 where the
//	              connection's site does not serve it), path, route (route.go)
//	forward.go    it is forwarded to the route's pool by httputil.ReverseProxy,
//	              with forwarded.go's fields
//	retry.go      one try a backend until one is reached, try.go is one of them
//	tunnel.go     an upgraded connection, until either side ends it
//	errors.go     the one place where an error becomes an HTTP answer
//	exchange.go   what became of the request: one record, filled on the way,
//	              that accesslog.go and metrics.go read when it is over
//
// forward.go, retry.go and try.go are all that knows httputil.ReverseProxy and
// http.Transport; handoff.go and server.go are all that knows http.Server.
//
// # Who owns what
//
// Server.Run owns every goroutine: one acceptor and one http.Server a listener,
// one handshake goroutine a connection (counted in Server.handshakes), one
// ticket rotator. Requests run in net/http's goroutines and are counted in
// Server.requests, tunnels are kept in Server.tunnels. Run returns when all of
// them have ended, or when the shutdown timeout and a short grace have passed.
//
// Sites, routes and TLS configurations do not change after New. A
// connection's site is set once, in its handshake, before anyone else sees the
// connection. An exchange belongs to its request's goroutine, but for its byte
// counters and the bodies' errors, which have locks of their own.
//
// # How it fails
//
// A name no site serves is refused in the handshake with unrecognized_name.
// A signature that fails has its handshake made again from the client's first
// words, if nothing was sent yet, and otherwise costs this handshake and nothing
// else. A
// backend that cannot be reached costs a try at the next one; when none is left
// the client gets 502, or 504 where time ran out. A backend that breaks its
// answer gets the client's connection (HTTP/1.1) or stream (HTTP/2) aborted, so
// that half an answer is never taken for a whole one. What a client does wrong,
// or leaving early, never counts against a backend.
//
// No wait is unbounded. A body's sender and an answer's reader may take any
// time as long as they make progress (deadline.go); a backend may be silent for
// ResponseTimeout before its answer and for the listener's Tunnel timeout
// within it.
package proxy
