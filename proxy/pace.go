package proxy

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// pace bounds how long a connection's writes may wait without progress, which is what its
// peer has acknowledged: a peer that reads slowly may take any time for a write. The kernel is
// asked for it an eighth of the limit after a wait began, and again with each further eighth. So
// a wait without progress ends up to an eighth late, and writes that need not wait cost
// nothing.
//
// A peer whose window is closed may read all the same: many systems open it again only when 64 KiB
// have been read. As long as it answers probes, it has patientLimits times as long.
type pace struct {
	stalled atomic.Int64 // since epoch: when the wait under way began, once it has been looked at; 0: none

	// These belong to the writer.
	waits  bool          // it does, or has been asked for progress, in this write
	looked bool          // progress is known
	began  time.Duration // since epoch
	acked  int           // of this write, less what had been unacknowledged before
	moved  time.Duration // when that was seen to grow, since epoch

	mu    sync.Mutex
	limit time.Duration // 0: there is none
	plain bool          // a deadline is in force that somebody has set
	next  time.Duration // when progress is looked at next, since epoch
}

// patientLimits of a minute each are enough for 500 bytes a second.
const patientLimits = 3

// PaceWrites implements http1.Pacer. A deadline that is set by SetDeadline or SetWriteDeadline
// is in force in its place, until that is taken back.
func (f *tcpConn) PaceWrites(limit time.Duration) {
	f.pace.mu.Lock()
	defer f.pace.mu.Unlock()
	f.pace.limit = limit
}

// SetDeadline implements net.Conn.
func (f *tcpConn) SetDeadline(t time.Time) error {
	f.pace.mu.Lock()
	defer f.pace.mu.Unlock()
	f.pace.plain, f.pace.next = !t.IsZero(), 0
	return f.TCPConn.SetDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (f *tcpConn) SetWriteDeadline(t time.Time) error {
	f.pace.mu.Lock()
	defer f.pace.mu.Unlock()
	f.pace.plain, f.pace.next = !t.IsZero(), 0
	return f.TCPConn.SetWriteDeadline(t)
}

// AwaitWrite implements http1.Pacer.
func (f *tcpConn) AwaitWrite(ready func(fd uintptr) bool) error {
	f.out = transfer{}
	return f.paced(func(fd uintptr) bool {
		done := ready(fd)
		if !done {
			f.waitBegins()
		}
		return done
	})
}

// paced is raw.Write, but that a wait in which there is progress goes on.
func (f *tcpConn) paced(try func(fd uintptr) bool) error {
	p := &f.pace
	p.waits, p.looked = false, false
	err := f.raw.Write(try)
	for err != nil && errors.Is(err, os.ErrDeadlineExceeded) && f.waitGoesOn() {
		err = f.raw.Write(try)
	}
	if p.looked {
		p.stalled.Store(0)
	}
	return err
}

// waitBegins has progress looked at in time. The writer calls it before it waits.
func (f *tcpConn) waitBegins() {
	p := &f.pace
	if p.waits {
		return
	}
	p.waits, p.began = true, time.Since(epoch)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit > 0 && !p.plain && p.next-p.began < p.limit/16 {
		f.lookAt(p.began + p.limit/8)
	}
}

// lookAt has the writer wake at a time. p.mu is held.
func (f *tcpConn) lookAt(at time.Duration) {
	f.pace.next = at
	_ = f.TCPConn.SetWriteDeadline(epoch.Add(at)) // it fails on a closed one, whose writes fail too
}

// waitGoesOn reports whether the writer, whose deadline has passed, goes on.
func (f *tcpConn) waitGoesOn() bool {
	p := &f.pace
	acked := f.out.n - f.unacknowledged()
	now := time.Since(epoch)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.limit == 0 || p.plain:
		return false
	case !p.waits: // it has passed before
		f.lookAt(now + p.limit/8)
		return true
	case !p.looked, acked > p.acked:
		p.looked, p.acked, p.moved = true, acked, now
		p.stalled.Store(int64(p.began))
	case now-p.moved >= patientLimits*p.limit, now-p.moved >= p.limit && !f.windowIsClosed():
		return false
	}
	next := now + p.limit/8
	if end := p.moved + p.limit; now < end {
		next = min(next, end)
	}
	f.lookAt(next)
	return true
}

// unacknowledged is how much was written that the peer has not acknowledged.
func (f *tcpConn) unacknowledged() (n int) {
	_ = f.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}

// windowIsClosed reports whether the peer answers, and has no room for what is to be sent.
func (f *tcpConn) windowIsClosed() (closed bool) {
	_ = f.raw.Control(func(fd uintptr) {
		i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		closed = err == nil && i.Unacked == 0 && i.Notsent_bytes > 0 && i.Probes <= unansweredProbes
	})
	return closed
}

// unansweredProbes is how many of them may be lost.
const unansweredProbes = 2

// stalledFor is how long the write under way has waited for its peer to read; 0: not for long.
// Any goroutine may ask.
func (f *tcpConn) stalledFor() time.Duration {
	if began := f.pace.stalled.Load(); began != 0 {
		return time.Since(epoch) - time.Duration(began)
	}
	return 0
}
