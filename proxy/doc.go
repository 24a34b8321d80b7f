// Package proxy terminates TLS and forwards requests to backends.
//
// # A request's way
//
// Each step is a file; reading them in this order is reading the package.
//
//	accept.go     a connection is accepted, at most MaxConnections a listener;
//	              room.go makes room for more by closing those that wait longest;
//	              unsent.go bounds what waits in its socket, pace.go how long
//	handshake.go  its own goroutine does the TLS handshake within a timeout;
//	              tlspolicy.go, site.go and ticket.go say with which
//	              tls.Config: one a site and policy, chosen by SNI. Before it a
//	              balancer says who the client is (proxyprotocol.go)
//	computing.go  no more of them at once than the machine can compute
//	rehearsal.go  a first try that can be made again when a signature fails;
//	              wasted.go holds a signature back where its client fails again and again,
//	              gone.go knows a client that hangs up before there is one
//	serve.go      a fresh goroutine serves the connection, by package http1 or
//	              http2, which parse and write; records.go has what they write at
//	              once leave as one piece, ack.go the handshake's end confirmed
//	handler.go    a request's whole way. It is admitted: method, authority (421
//	              where the connection's site does not serve it), path, route
//	              (route.go), the route's own limits (routelimits.go)
//	maxforwards.go  an OPTIONS may go no further than here
//	redirect.go   or it has come by plain HTTP and is sent to HTTPS
//	edit.go       its fields become the backend's, forwarded.go's among them, and
//	              the answer's become the client's
//	fieldedits.go what a route changes on both
//	trailers.go   which trailers go on
//	via.go        its Via, and requests that go round in circles
//	nodes.go      what of a trusted proxy's forwarding fields is what it should be
//	requestid.go  its X-Request-ID, which is in answers and the log too
//	upload.go     its body: taken whole where it is small, else streamed; replay.go is
//	              what can be sent again of that
//	forward.go    it is sent to a backend that the pool's Balancer picks, and to
//	              the next one as long as none was reached
//	relay.go      the response is passed on as it comes
//	resend.go     or it is sent again to another one, where that does no harm;
//	              blame.go writes down why a backend failed
//	departures.go  whose client leaves meanwhile is told by the kernel
//	tunnel.go     or the connection is switched, until either side ends it;
//	              websocket.go is what that takes between two versions of HTTP
//	errors.go     the one place where an error becomes an HTTP answer, with the
//	              site's page (errorpage.go)
//	accesslog.go, metrics.go  and what became of it is written down
//	panic.go      what a mistake of ours ends
//	shortage.go   what this machine runs out of
//
// exchange.go is the record that all of them fill. link.go says what a request
// has of a backend, by either protocol. backend.go keeps connections by HTTP/1.1,
// connect.go makes them, firstuse.go sees whose idle ones hold up others,
// socket.go is one of these with patience, proxyheader.go what some begin with.
// probe.go dials backends that are down, for no request. h2c.go shares connections by HTTP/2, stream.go is a request's part of one. buffers.go is
// memory for bytes on their way. footprint.go charges connections to the memory that
// there is for clients (package memory).
//
// # Who owns what
//
// Server.Run owns every goroutine: an acceptor for each listener, one goroutine for each
// handshake (counted in Server.handshakes), one for each connection (in
// Server.clients), with those of package http2 below it, and one each to rotate
// tickets, to close idle connections and to tell of clients that leave, and one for each pool that probes its backends. A connection to a backend by HTTP/2 has
// one too, and so has each dial, which goes on where its request finds another connection. A request has one
// goroutine, its connection's with HTTP/1.1 and one of the connection's workers with
// HTTP/2. That one does all of its work, the wait for the backend too, but for a
// streamed body (one more, which the request waits for) and for a tunnel (likewise).
// Run returns when all of them have ended, or when the shutdown timeout and a
// short grace have passed.
//
// Sites, routes and TLS configurations do not change after New. A
// connection's site is set once, in its handshake, before anyone else sees the
// connection. A record belongs to its request's goroutine; what others may
// touch is atomic or has a lock of its own. A link to a backend belongs to one
// request; Server.cutRequests and a client that leaves only interrupt it.
//
// # How it fails
//
// A connection that owes a PROXY header and has none is closed, and a name no site
// serves is refused in the handshake with unrecognized_name.
// A signature that fails has its handshake made again from the client's first
// words, if nothing was sent yet, and otherwise costs this handshake and nothing
// else. What two parsers could read in two ways is refused by the codec before
// anything of it gets here, and a path that could be one of another route by route.go. A backend that cannot be reached costs a try at the
// next one, and so does one that fails before a response, for requests that may be repeated;
// when none is left the client gets 502, or 504 where time ran out. A
// connection that was kept and is dead is replaced, for requests that may be
// repeated, and so is a call that an HTTP/2 backend did not process, for any whose
// body is still whole. A backend that breaks its answer gets the client's connection
// (HTTP/1.1) or stream (HTTP/2) broken off, so that half an answer is never taken
// for a whole one. What a client does wrong, or leaving early, never counts
// against a backend; nor does what we lack ourselves (shortage.go): the client gets 503,
// and a connection that cannot be accepted waits in the kernel's queue.
//
// A panic costs its request, or the connection where it is the connection's: it is
// recovered, counted and logged with its stack, and not with what the request held. Accepting,
// sweeping, the rotation of tickets and the drain go on after one.
//
// Where memory is short, no client has more held for it than a hundred times what it has sent;
// nor has it, at any time, more work done than a hundred times its own. So memory is taken when
// there is something to put into it, and of an answer no more than its client takes.
//
// No wait is unbounded. A body's sender and an answer's reader may take any
// time as long as they make progress, which of a reader is what it acknowledges; a backend may be silent for
// ResponseTimeout before its answer and for SilenceTimeout within it, and a tunnel for
// the listener's Tunnel timeout. Deadlines are moved only when some of them has passed, so
// a wait may end up to an eighth late, and none ends early.
package proxy
