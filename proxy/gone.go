package proxy

import (
	"net"

	"golang.org/x/sys/unix"
)

// Gone reports whether the client has hung up. It is for the time in which the handshake
// waits for a signature and nobody reads from the socket. A client that sends no more cannot
// finish a handshake, whether it still reads or not.
func (c *conn) Gone() bool {
	t, ok := underHandshake(c.Conn).(*tcpConn)
	if !ok {
		return false
	}
	fds := [1]unix.PollFd{{Events: unix.POLLRDHUP}} // POLLERR and POLLHUP come unasked
	err := t.raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		if _, err := unix.Poll(fds[:], 0); err != nil {
			fds[0].Revents = 0
		}
	})
	const over = unix.POLLERR | unix.POLLHUP | unix.POLLNVAL | unix.POLLRDHUP
	return err != nil || fds[0].Revents&over != 0
}

// underHandshake is the socket below what a handshake puts on it.
func underHandshake(c net.Conn) net.Conn {
	for {
		switch on := c.(type) {
		case *rehearsal:
			c = on.Conn
		case *replayed:
			c = on.Conn
		default:
			return c
		}
	}
}
