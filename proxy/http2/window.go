package http2

import (
	"golang.org/x/net/http2"

	"sallyport/proxy/memory"
)

// window is what a peer may send, on a stream or on the connection
// (RFC 9113 §5.2). What it has sent and was not allowed anew is what it has in
// the way, what waits to be read, and credit.
type window struct {
	size   int32 // that the peer has when nothing waits
	left   int32 // that it may still send
	credit int32 // what was given back and not told yet
}

// take reports whether the peer may send n bytes more, and counts them.
func (w *window) take(n int) bool {
	if int32(n) > w.left {
		return false
	}
	w.left -= int32(n)
	return true
}

// tell returns what a WINDOW_UPDATE is to say, and counts it as said.
func (w *window) tell() uint32 {
	n := w.credit
	w.left += n
	w.credit = 0
	return uint32(n)
}

// due reports whether there is enough to tell for a frame.
func (w *window) due() bool { return w.credit >= w.size/updateShare }

// updateShare is the part of a window that is told of by one WINDOW_UPDATE: few frames
// are sent, and a peer whose line fits the window never waits for one.
const updateShare = 4

// resize moves the window's size towards n: it grows at once, and shrinks by what is
// not told yet.
func (w *window) resize(n int32) {
	by := max(n-w.size, -w.credit)
	w.size += by
	w.credit += by
}

const (
	maxStreamWindow = 16 << 20
	maxConnWindow   = 64 << 20
	connStreams     = 4 // streams whose windows the connection's takes as a whole
)

// receive takes n bytes of the connection's window (RFC 9113 §6.9.1), also for a
// stream that is gone, and gives them back at once: what waits is bounded stream by
// stream, so that one which is not read takes nothing from the others. mu is held.
func (c *conn) receive(n int) error {
	if !c.recv.take(n) {
		return &ConnError{http2.ErrCodeFlowControl, "more than the connection's window"}
	}
	c.line.bytes += int64(n)
	if c.owed += n; c.hold.mem.Short() {
		c.arm(now() + rationedPause)
		return nil
	}
	c.giveBack()
	c.measure()
	return nil
}

// giveBack opens the connection's window for what has come. Where memory is short, what
// waits to be read is not given back: then it bounds the streams, one with another. mu is held.
func (c *conn) giveBack() {
	n := c.owed
	if c.hold.mem.Short() {
		n = max(n-c.waiting, 0)
	}
	c.owed -= n
	c.recv.credit += int32(n)
	c.tellConn()
}

// dueBack is giveBack where memory was short a while ago. mu is held.
func (c *conn) dueBack(t int64) int64 {
	if c.owed == 0 {
		return never
	}
	if c.giveBack(); c.owed == 0 {
		return never
	}
	return t + rationedPause
}

// tellConn tells of the connection's window if it is time to. mu is held.
func (c *conn) tellConn() {
	if c.closing || !c.recv.due() {
		return
	}
	c.out.pending = appendWindowUpdate(c.out.room(headLen+4), 0, c.recv.tell())
	c.flushSoon()
}

// consumed gives n bytes that were read of a stream back to its window, some at a
// time. mu is held.
func (s *stream) consumed(n int) {
	w, c := &s.recv, s.c
	if c.owed > 0 {
		c.giveBack()
	}
	w.credit += int32(n)
	switch {
	case s.remoteEnded || s.err != nil:
		return
	case s.declared >= 0 && int64(w.left) >= s.declared-s.got:
		return // all that comes is allowed
	case !w.due():
		return
	}
	switch {
	case s.hold.mem.Short():
		if w.size > rationedWindow {
			s.hold.mem.Rationed(memory.WindowShrinks)
			w.resize(rationedWindow)
		}
		if w.credit == 0 {
			return
		}
	case s.in.n <= int(w.size)/4: // a reader that is slower than the line has no use for more
		w.resize(max(w.size, c.line.window))
	}
	c.out.pending = appendWindowUpdate(c.out.room(headLen+4), s.id, w.tell())
	c.flushSoon()
}

// line is what is known of the way to the peer: bandwidth times delay, measured as
// gRPC does it, by what comes between a PING and its acknowledgement. Where that is
// most of a stream's window, the window may be what holds the peer back, and the next ones
// are larger. Where larger ones have brought no more bandwidth it was not: what comes waits
// somewhere, and would only be longer on its way. PINGs are few: none is sent where little comes, and ever fewer where
// they show that the window suffices.
type line struct {
	window int32 // for a stream whose reader keeps up
	bytes  int64 // of DATA since the last PING, or since its acknowledgement
	wait   int64 // bytes before the next PING
	asked  bool  // a PING is under way

	askedAt int64
	best    float64 // bandwidth, in bytes a nanosecond, when the window grew last
}

var linePing = [8]byte{'l', 'i', 'n', 'e'}

const (
	firstMeasure = 32 << 10  // bytes of DATA before the first PING
	maxMeasure   = 256 << 20 // and between two at most
	lineGrowth   = 8         // a window is so many times what came within a round trip

	moreBandwidth = 1.25 // is what a larger window has to have brought for a still larger one
)

func (l *line) init() { l.window, l.wait = streamWindow, firstMeasure }

// measure begins to measure if it is time to. mu is held.
func (c *conn) measure() {
	l := &c.line
	if l.asked || l.bytes < l.wait || l.window >= maxStreamWindow {
		return
	}
	l.asked, l.bytes, l.askedAt = true, 0, now()
	c.out.pending = appendPing(c.out.room(headLen+8), 0, linePing)
	c.flushSoon()
}

// measured takes the acknowledgement of that PING. mu is held.
func (c *conn) measured() {
	l := &c.line
	came := l.bytes
	l.asked, l.bytes = false, 0
	bandwidth := float64(came) / float64(max(now()-l.askedAt, 1))
	if 2*came < int64(l.window) || bandwidth < l.best*moreBandwidth {
		l.wait = min(2*max(l.wait, int64(l.window)), maxMeasure)
		return
	}
	l.best = bandwidth
	l.window = int32(min(lineGrowth*came, maxStreamWindow))
	// What comes within the next round trip was allowed by the old windows.
	l.wait = came + came/8
	c.recv.resize(min(connStreams*l.window, maxConnWindow))
	if c.recv.credit > 0 && !c.closing {
		c.out.pending = appendWindowUpdate(c.out.room(headLen+4), 0, c.recv.tell())
		c.flushSoon()
	}
}
