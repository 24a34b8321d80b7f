package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// ackSoon has what a client has sent last acknowledged before its next words are waited
// for. The last of a handshake is the client's, since crypto/tls sends its tickets before
// that, and the kernel would leave the acknowledgement to an answer, for 40 ms at most: a
// client that keeps to Nagle's algorithm (RFC 9293 §3.7.4) holds its first request back
// until then. Where that request is there already, nothing is done.
func ackSoon(c net.Conn) {
	if t, ok := c.(*tcpConn); ok {
		t.ackNext = true
	}
}

// acknowledge sends an acknowledgement that is due (TCP_QUICKACK, tcp(7)).
func acknowledge(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
}
