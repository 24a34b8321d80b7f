package proxy

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxUnsent is how much of an answer waits in the kernel before the network
// takes it. Without a bound of its own a socket's buffer grows to some megabytes,
// which a client that does not read would have for a request.
const maxUnsent = 64 << 10

// boundUnsent sets it for a client's connection. A listener would pass it on,
// but not one for Multipath TCP, as Go's are. What is not TCP has no such buffer.
func boundUnsent(c net.Conn) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		// A kernel that does not know it (before Linux 3.12) does without.
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
		})
	}
}
