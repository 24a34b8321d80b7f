package proxy

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// departures tells requests whose client leaves while a backend is silent. With HTTP/1.1 nobody
// reads from a client then, since what comes may be its next request, so the kernel is asked to
// tell, by an instance of epoll of its own: nobody has to look now and then, however many
// requests wait. (With HTTP/2 the connection's reader tells.)
//
// A request is watched only once its backend has been silent for a while. There is one at most
// for each connection, which bounds them.
type departures struct {
	mu      sync.Mutex
	epoll   *os.File // nil: none could be made, or it is closed
	raw     syscall.RawConn
	watched map[uint64]*exchange // by ticket
	last    uint64               // ticket
}

// open makes the instance. Where that cannot be, requests look for themselves.
func (d *departures) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // the runtime's poller takes it then
		unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	epoll := os.NewFile(uintptr(fd), "epoll")
	raw, err := epoll.SyscallConn()
	if err != nil {
		epoll.Close()
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoll, d.raw, d.watched = epoll, raw, map[uint64]*exchange{}
	return nil
}

// close ends run. Requests that are still watched are told nothing any more.
func (d *departures) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.epoll != nil {
		_ = d.epoll.Close() // nothing was written to it
		d.epoll = nil
	}
}

// run tells requests, until close.
func (d *departures) run(s *Server) {
	d.mu.Lock()
	raw := d.raw
	d.mu.Unlock()
	if raw == nil {
		return
	}
	var events [128]unix.EpollEvent
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0) // what fails is tried again when there is more
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			s.guarded(inSweep, func() { d.tell(ticketOf(e)) })
		}
	}
}

// tell tells a request. When unwatch has returned it is not told any more.
func (d *departures) tell(ticket uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x := d.watched[ticket]; x != nil {
		x.onGone()
	}
}

// watch has x told when its client leaves, or at once where it has left, and reports
// whether that can be.
func (d *departures) watch(x *exchange) bool {
	t, ok := x.conn.socket.(*tcpConn)
	if !ok {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.epoll == nil {
		return false
	}
	d.last++
	e := unix.EpollEvent{Events: unix.EPOLLONESHOT} // EPOLLERR and EPOLLHUP come unasked
	if x.conn.tls != nil {
		e.Events |= unix.EPOLLRDHUP // as http1.ServerConn.Gone has it
	}
	e.Fd, e.Pad = int32(uint32(d.last)), int32(d.last>>32)
	if d.control(unix.EPOLL_CTL_ADD, t, &e) != nil {
		return false
	}
	d.watched[d.last] = x
	x.departure = d.last
	return true
}

// unwatch ends what watch began. It is called before the connection serves another request.
func (d *departures) unwatch(x *exchange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.watched, x.departure)
	x.departure = 0
	if t, ok := x.conn.socket.(*tcpConn); ok && d.epoll != nil {
		_ = d.control(unix.EPOLL_CTL_DEL, t, nil) // a closed one has been taken out by that
	}
}

// control lends both descriptors to epoll_ctl. mu is held.
func (d *departures) control(op int, t *tcpConn, e *unix.EpollEvent) error {
	var err error
	failed := d.raw.Control(func(epoll uintptr) {
		if closed := t.raw.Control(func(fd uintptr) { err = unix.EpollCtl(int(epoll), op, int(fd), e) }); closed != nil {
			err = closed
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// ticketOf is what an event is about.
func ticketOf(e unix.EpollEvent) uint64 { return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32 }

// watchClient has the request told when its client leaves, so that nobody needs to look.
func (x *exchange) watchClient() {
	if !x.watched {
		x.watched = x.conn.gone == nil || x.server.departures.watch(x)
	}
}
