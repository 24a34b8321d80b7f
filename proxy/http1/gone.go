package http1

import (
	"crypto/tls"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// gone says whether the peer has closed or lost the connection. Over TLS the end
// of what it sends counts as that: nobody who still reads closes only that half
// there. Without TLS some do.
func gone(c net.Conn) bool {
	events := int16(0) // POLLERR and POLLHUP come unasked
	if _, ok := c.(interface{ ConnectionState() tls.ConnectionState }); ok {
		events = unix.POLLRDHUP
	}
	const over = unix.POLLERR | unix.POLLHUP | unix.POLLNVAL | unix.POLLRDHUP
	fds := [1]unix.PollFd{{Events: events}}
	return !control(socket(c), func(fd uintptr) {
		fds[0].Fd = int32(fd)
		if n, err := unix.Poll(fds[:], 0); n < 0 || err != nil {
			fds[0].Revents = 0
		}
	}) || fds[0].Revents&over != 0
}

// control lends f the connection's descriptor. It says false when that is closed,
// and does nothing where there is none.
func control(c net.Conn, f func(fd uintptr)) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	return err == nil && raw.Control(f) == nil
}

// silent says whether a connection that is unused is still open and its peer has
// said nothing. It takes nothing away of what has come.
type silent struct {
	raw  syscall.RawConn
	look func(fd uintptr)
	ok   bool
}

func newSilent(c net.Conn) *silent {
	s := &silent{}
	if conn, ok := socket(c).(syscall.Conn); ok {
		s.raw, _ = conn.SyscallConn()
	}
	octet := new([1]byte)
	s.look = func(fd uintptr) {
		// unix.Recvfrom allocates room for an address that nobody asks for.
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(octet)), 1,
			unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
		s.ok = errno == unix.EAGAIN
	}
	return s
}

func (s *silent) now() bool {
	if s.raw == nil {
		return true
	}
	s.ok = false
	return s.raw.Control(s.look) == nil && s.ok
}
