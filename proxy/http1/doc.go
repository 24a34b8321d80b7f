// Package http1 turns the bytes of HTTP/1.1 and 1.0 into messages and back, on
// a client's connection and on a backend's. It is strict: what two parsers
// could read in two ways is refused, never repaired (RFC 9112 §11.2). Of a backend, whose
// response nobody else reads before it is written anew, it takes what has one meaning
// though it should not be sent (response.go).
//
// # Parts
//
//	server.go      ServerConn: a client's connection, one request after the other
//	exchange.go    Exchange: a request and the way to answer it
//	status.go      status lines; the answer to a request that is refused
//	client.go      ClientConn: a backend's connection, one call after the other
//	call.go        Call: a request to a backend and the way to its answer
//	config.go      limits and timeouts
//	errors.go      everything that can be wrong with a message
//
//	input.go       the reading half of a connection, and what came and is unread
//	lines.go       cuts that into lines, as they come
//	request.go     a request's head, line by line; target.go its target
//	response.go    an answer's head, line by line
//	fields.go      field lines, and what they say about connection and framing
//	octets.go      which octets may be where
//	body.go        a body on its way in; chunks.go the chunked coding
//
//	output.go      the writing half: heads, bodies, trailers
//	buffer.go      the memory that both borrow
//	deadline.go    deadlines that are set as seldom as can be
//	ending.go      the ways to end a connection
//	gone.go        looks at a socket without reading from it
//
// # Who owns what
//
// The package starts no goroutine. A ServerConn belongs to the one that loops
// over Next; while an exchange is under way its body may be read by one goroutine and
// its answer written by another. The two share the connection, of which each
// has a half (input, output), and Exchange.mu, because the one who reads sends the
// 100 (Continue). What one must know of the other is atomic: whether the
// body is whole or broken, and that nobody needs the rest. The same goes for a
// ClientConn and its Call, where mu is about the deadline of the answer's head.
// Reset, Drain, Gone and the Close of a call or its connection are for any goroutine.
//
// Heads are parsed in the buffer they are read into, and Fields point into it.
// A buffer is borrowed when a message's first byte is there and given back when
// the exchange is over and nothing is left in it; output's lives from the first
// byte that is kept to the next flush. A connection that waits holds none, and
// serving a request allocates nothing.
//
// # How it fails
//
// A request that is refused comes out of Next as an *Error with a status, and
// of a body's Read too; after either the connection ends. A backend's answer
// that is refused is *Broken. Timeouts are the network's errors, but for a
// head's, which is an *Error (408), and ErrIdle. A message that cannot be sent whole
// has its connection aborted: no peer may take a part of it for all.
//
// Everything has a bound: a head in bytes, fields and time as a whole; a body,
// its reader and an answer by progress; trailers and chunk extensions in bytes. Deadlines
// may pass an eighth of their time early, see deadline.go. Tunnels have none
// for reading: whoever opened one watches both its ways at once.
package http1
