package http1

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// writable waits until a connection takes more of what is sent, which costs a
// system call where it does. The runtime's poller waits for that, with its deadline for
// writing.
type writable struct {
	raw  syscall.RawConn // nil: not known
	fds  [1]unix.PollFd
	look func(fd uintptr) bool
}

func (w *writable) await(s any) error {
	if w.look == nil {
		if conn, ok := s.(syscall.Conn); ok {
			w.raw, _ = conn.SyscallConn()
		}
		w.look = func(fd uintptr) bool {
			w.fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}
			n, err := unix.Poll(w.fds[:], 0)
			return n != 0 || err != nil // what is wrong with it, a write will tell
		}
	}
	if w.raw == nil {
		return nil
	}
	return w.raw.Write(w.look)
}

// AwaitRoom waits until the client takes more of a body, and says how much can
// be sent without a wait, as far as it is known: whoever sends a long body need not
// hold the next part while the client does not read. An error is as WriteBody's.
func (x *Exchange) AwaitRoom() (int, error) {
	o := &x.conn.out
	if o.err == nil {
		o.err = o.by.within(o.limit, o.conn.SetWriteDeadline)
	}
	if o.err == nil {
		o.err = x.conn.room.await(socket(o.conn))
	}
	return maxWrite, o.err
}
