// Package http2 turns HTTP/2 into messages and back: a server for clients
// (ServerConn) and a client for backends in cleartext (ClientConn), by RFC 9113,
// with the extended CONNECT of RFC 8441 for WebSocket. Package message says what
// both give and take.
//
// # Parts
//
// Reading these files in this order is reading the package.
//
//	conn.go       what both ends of a connection have in common, and its end
//	reader.go     bytes as they come; an idle connection holds 512 of them
//	frame.go      heads of frames
//	dispatch.go   each kind of frame
//	section.go    HEADERS and CONTINUATION become a list of fields (x/net's hpack)
//	validate.go   which bytes may stand where
//	request.go    a list of fields becomes a request, or is refused (refusal.go)
//	response.go   the same for an answer
//	stream.go     a stream's state, from its beginning to its use for another
//	inbound.go    DATA that comes, until it is read
//	outbound.go   DATA that goes, as far as windows allow
//	flow.go       windows of what goes, and who may send next
//	window.go     windows of what comes, and how they grow with the line
//	buffers.go    what is pooled
//	encode.go     heads become HPACK
//	writer.go     one write for all that is ready
//	settings.go   the peer's settings
//	budget.go     what a peer may have done for nothing
//	ration.go     what is held of the process's memory, and what is done where it is short
//	panic.go      what a panic ends
//	watch.go      one timer a connection for all its timeouts
//	server.go     ServerConn; worker.go runs handlers, exchange.go is what they
//	              get, early.go is what follows a response that was whole before
//	              its request, drain.go ends a connection without losing a request
//	client.go     ClientConn; call.go is one request to a backend
//
// # Who owns what
//
// Run reads, in its caller's goroutine. It starts the workers that run handlers,
// at most MaxStreams, which serve one stream after another and leave when there
// has been none for a while; and now and then a goroutine that writes. Run
// returns when all of them have ended. A client's calls are their callers'.
//
// What the reader parses is the reader's; everything that others see is guarded by
// the connection's one mutex, mu, and there is no other lock. It is let go for each
// write to the network, for each call of a handler or of an OnGone function, and
// while somebody waits. So whoever calls what flushes or waits looks at the
// stream again afterwards.
//
// Streams are used again. An exchange and a call are not: they let go of their
// stream when they are over, so that a late Reset hits nobody.
//
// # Bounds
//
// What a peer has sent and nobody has read waits in its stream, as far as the
// stream's window goes. That opens as it is read, and the connection's as it
// comes, so that a stream which is not read takes nothing from the others. A stream's
// window begins with 256 KiB, and grows up to 16 MiB where a line that is long
// takes more and the reader keeps up. What a peer does not read waits up to 64 KiB a connection, and less for a
// client that has not sent or read much yet; then senders wait, in the order in
// which they came. A field section is bounded in
// bytes and in lines. Streams are bounded in number, and so are handlers that
// have not returned from streams that are gone. Frames and streams that cost work
// and bring nobody forward use up a budget (budget.go). Who uses it up by streams that are given up
// is asked to begin no more, and those under way go on.
//
// What all that takes is charged to the client as memory (Config.Memory), which
// is one budget for all connections of the process (package memory). While that suffices,
// nothing but these bounds holds. A client that has too much of it is rationed:
// two of its streams are served at once on a connection, the connection's window opens only as bodies are read,
// and streams' windows shrink; where it must give way, further streams are refused
// and the largest body that nobody reads is broken off. What comes of a backend counts
// as the client's that asked for it.
//
// # How it fails
//
// A request that HTTP/1.1 would read in another way is malformed, and answered with 400; its
// stream is reset behind that where HTTP/2's own rules were broken. Nothing is repaired. A
// stream is reset whose handler returned without a whole answer. What breaks the connection's own rules, or uses up its budget, ends
// the connection with GOAWAY. A peer that does not read or does not send in time
// loses the stream, or the connection where it is what stands still. One that is silent
// beside a stream is asked by PING, and loses the connection when it does not respond. Whoever
// waits for a stream is woken by its end, whatever it was.
package http2
