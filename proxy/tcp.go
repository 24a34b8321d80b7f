package proxy

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/proxy/http1"
)

// tcpConn is a TCP connection whose reads and writes do not tell Go's scheduler
// that they enter the kernel. They never wait there: the socket is non-blocking,
// and the runtime's poller waits in their place, as it does for any net.Conn. To
// the scheduler each of them is a few microseconds of computing, where else it
// would look every 20 µs for system calls that last, and hand their processor on.
//
// One goroutine may read and one may write at a time. The race detector does not
// see what the kernel does to the buffers.
type tcpConn struct {
	*net.TCPConn
	raw      syscall.RawConn
	in, out  transfer
	more     atomic.Bool // what is written is sent with what is written next
	liftAt   int         // see unsent.go
	ackNext  bool        // see ack.go
	pace     pace
	readNow  func(fd uintptr) (done bool) // made once, so that a read allocates nothing
	writeNow func(fd uintptr) (done bool)
	askNow   func(fd uintptr) (done bool)
	asked    asking
}

// asking is how far Ask has come.
type asking struct {
	early bool   // something had come before
	over  bool   // all is sent
	sent  func() // is called then
}

// transfer is a read or a write under way.
type transfer struct {
	p   []byte
	n   int
	err error
}

// newTCPConn takes over c. What is no TCP connection is returned as it is.
func newTCPConn(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	f := &tcpConn{TCPConn: t, raw: raw}
	f.readNow = func(fd uintptr) bool {
		done := f.in.try(syscall.SYS_RECVFROM, fd, 0)
		if !done && f.ackNext {
			f.ackNext = false
			acknowledge(fd)
		}
		return done
	}
	f.writeNow = func(fd uintptr) bool {
		done := f.sendAll(fd)
		if !done {
			f.waitBegins()
		}
		return done
	}
	f.askNow = func(fd uintptr) bool {
		a := &f.asked
		switch {
		case f.in.try(syscall.SYS_RECVFROM, fd, 0):
			a.early = !a.over
			return true
		case a.over:
			return false
		case !f.sendAll(fd), f.out.err != nil:
			return true // what is left, Write sends
		}
		a.over = true
		a.sent()
		return false
	}
	return f
}

// sendAll is false where it would have to wait before it has sent all.
func (f *tcpConn) sendAll(fd uintptr) (done bool) {
	for f.out.n < len(f.out.p) {
		before := f.out.n
		if !f.out.try(syscall.SYS_SENDTO, fd, f.flags()) {
			return false
		}
		if f.out.err != nil || f.out.n == before {
			break
		}
	}
	return true
}

// try makes the system call, and is false where it would have to wait.
func (t *transfer) try(call, fd, flags uintptr) (done bool) {
	rest := t.p[t.n:]
	for {
		n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)), flags, 0, 0)
		switch errno {
		case 0:
			t.n += int(n)
			return true
		case syscall.EAGAIN:
			return false
		case syscall.EINTR:
			continue
		}
		t.err = errno
		return true
	}
}

// flags are those of send(2). A kernel that has no room for more sends what it has.
func (f *tcpConn) flags() uintptr {
	if f.more.Load() {
		return unix.MSG_MORE | unix.MSG_NOSIGNAL
	}
	return unix.MSG_NOSIGNAL
}

// Read implements net.Conn.
func (f *tcpConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	f.in = transfer{p: p}
	err := f.raw.Read(f.readNow)
	n := f.in.n
	if err == nil && f.in.err != nil {
		err = f.failure("read", f.in.err)
	}
	f.in.p = nil
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (f *tcpConn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	f.out = transfer{p: p}
	err := f.paced(f.writeNow)
	n := f.out.n
	if err == nil && f.out.err != nil {
		err = f.failure("write", f.out.err)
	}
	f.out.p = nil
	f.liftUnsent(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// Ask sends all of request, calls sent, and reads into p what comes then. Before that it looks
// whether something has come already, be it the end: then it sends nothing and fails with
// http1.ErrUnasked. That look is the read that would find nothing after a Write,
// so it costs no system call. rest is what could not be sent without a wait, or before a
// deadline; sent was not called then.
func (f *tcpConn) Ask(request, p []byte, sent func()) (n int, rest []byte, err error) {
	f.in, f.out, f.asked = transfer{p: p}, transfer{p: request}, asking{sent: sent}
	err = f.raw.Read(f.askNow)
	n = f.in.n
	switch a := &f.asked; {
	case a.early:
		n, rest, err = 0, request, http1.ErrUnasked
	case f.out.err != nil:
		rest, err = request, f.failure("write", f.out.err)
	case !a.over:
		rest = request[f.out.n:]
	case err == nil && f.in.err != nil:
		err = f.failure("read", f.in.err)
	case err == nil && n == 0:
		err = io.EOF
	}
	f.in.p, f.out.p, f.asked.sent = nil, nil, nil
	return n, rest, err
}

func (f *tcpConn) failure(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: f.LocalAddr(), Addr: f.RemoteAddr(), Err: err}
}

// ReadFrom hides net.TCPConn's, which writes by itself.
func (f *tcpConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{f}, r) }

// WriteTo hides net.TCPConn's, which reads by itself.
func (f *tcpConn) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{f})
}
