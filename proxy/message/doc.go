// Package message is what HTTP/1.1 and HTTP/2 have in common once their bytes
// are parsed: a head, a body that streams, trailers, and the exchange that they
// belong to. Packages http1 and http2 turn bytes into messages and back; package
// proxy routes, edits and forwards them, and does not know which protocol it is.
//
// # What a codec takes out, and puts back
//
// A head's Fields are end to end. The codec that reads a message has taken out,
// and has checked by its protocol's rules, what belongs to the connection or to
// the framing: Connection and what it names unless that is end to end by itself (kinds.go),
// Keep-Alive, Proxy-Connection,
// Proxy-Authenticate and Proxy-Authorization, TE, Transfer-Encoding, Upgrade,
// HTTP2-Settings, Content-Length, Host, Expect, and the pseudo-fields of HTTP/2.
// What they said is in the head's other members. The codec that writes a message
// makes its own from those.
//
// Package syntax, below, has what both codecs hold a head's octets to.
//
// # Whose bytes they are
//
// Slices of a head point into its connection's buffers. They stay valid, and
// must not be changed, until the exchange is over; names and values that the
// proxy adds are its own.
package message
