package http1

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// writable waits until a connection takes more of what is sent, which costs a
// system call where it does. The runtime's poller waits for that, with its deadline for
// writing.
type writable struct {
	by   Pacer           // nil: it is none
	raw  syscall.RawConn // nil: not known
	fds  [1]unix.PollFd
	look func(fd uintptr) bool
}

func (w *writable) await(s any) error {
	if w.look == nil {
		w.by, _ = s.(Pacer)
		if conn, ok := s.(syscall.Conn); ok {
			w.raw, _ = conn.SyscallConn()
		}
		w.look = func(fd uintptr) bool {
			w.fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}
			n, err := unix.Poll(w.fds[:], 0)
			return n != 0 || err != nil // what is wrong with it, a write will tell
		}
	}
	switch {
	case w.by != nil:
		return w.by.AwaitWrite(w.look)
	case w.raw == nil:
		return nil
	}
	return w.raw.Write(w.look)
}

// Pacer is a socket that bounds by itself how long its writes wait without progress, which is
// what the peer has acknowledged. A peer of another one has to take each part of what is written
// within the limit.
type Pacer interface {
	// PaceWrites has writes fail with os.ErrDeadlineExceeded that have been without
	// progress for limit, or up to an eighth longer.
	PaceWrites(limit time.Duration)
	// AwaitWrite is Write of syscall.RawConn, so bounded.
	AwaitWrite(ready func(fd uintptr) bool) error
}

// AwaitRoom waits until the client takes more of a body, and says how much can
// be sent without a wait, as far as it is known: whoever sends a long body need not
// hold the next part while the client does not read. An error is as WriteBody's.
func (x *Exchange) AwaitRoom() (int, error) {
	o := &x.conn.out
	if o.err == nil {
		o.err = o.bound()
	}
	if o.err == nil {
		o.err = x.conn.room.await(socket(o.conn))
	}
	return maxWrite, o.err
}
