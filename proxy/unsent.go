package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// How much of an answer waits in the kernel before the network takes it. Without
// a bound of its own a socket's buffer grows to some megabytes, which a client that
// does not read would have for a request. The first bound is less than a hundred times
// the shortest handshake and request; a client that is 100 ms away still gets as much as TCP sends
// it at first. One that has taken some may have more: with a small bound, long answers go in many short steps.
const (
	firstUnsent = 40 << 10
	laterUnsent = 1 << 20
	unsentAfter = 512 << 10 // bytes that were sent before
)

// boundUnsent sets the first one for a client's connection, and has c lift it. A listener
// would pass it on, but not one for Multipath TCP, as Go's are. What is not TCP has
// no such buffer.
func boundUnsent(c net.Conn) {
	if t, ok := c.(*tcpConn); ok {
		t.setUnsent(firstUnsent)
		t.liftAt = unsentAfter
	}
}

// liftUnsent notes that n bytes were sent.
func (f *tcpConn) liftUnsent(n int) {
	if f.liftAt <= 0 {
		return
	}
	if f.liftAt -= n; f.liftAt <= 0 {
		f.setUnsent(laterUnsent)
	}
}

func (f *tcpConn) setUnsent(n int) { _ = f.raw.Control(unsent(n).set) }

type unsent int

// set asks for it. A kernel that does not know it (before Linux 3.12) does without.
func (u unsent) set(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, int(u))
}
