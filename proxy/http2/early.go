package http2

import (
	"time"

	"golang.org/x/net/http2"
)

// A response that is whole before its request is (a 413, a 405, a login page) ends the
// stream's one half. The client may still be sending then, and some clients lose a response
// that RST_STREAM follows at once: curl 7.88 does, with its error 92. So what comes is taken
// and dropped for a while, and the windows go on opening. The client is asked to stop with
// RST_STREAM of NO_ERROR (RFC 9113 §8.1) when it has paused, since other clients
// (curl 8.10) send nothing more and wait for that; or when it has sent too much for too long.
const (
	earlyPause = int64(time.Second)      // without DATA
	earlyTime  = 30 * int64(time.Second) // in all
	earlyDrain = 2 * int64(time.Second)  // in all, where the connection is to end
	earlyBytes = 16 << 20
)

// early is the end of a stream whose response is whole before its request.
type early struct {
	since int64 // when DATA came last; 0: the stream is none of these
	until int64
	left  int // bytes that are still taken
}

// outlast has the rest of the request dropped as it comes. The response is whole, and
// nobody reads any more. mu is held.
func (c *ServerConn) outlast(s *stream) {
	if s.early.since != 0 {
		return
	}
	if !s.refused {
		c.free.earn(earnDone)
	}
	t := now()
	s.early = early{since: t, until: t + earlyTime, left: earlyBytes}
	if c.drain.begun {
		s.early.until = t + earlyDrain
	}
	if s.readErr == nil {
		s.readErr = errAnswered
	}
	s.readable.Broadcast()
	n := s.in.n
	s.empty()
	s.consumed(n)
	s.drops(n)
	c.arm(t + earlyPause)
}

// drops notes that n bytes were dropped. mu is held.
func (s *stream) drops(n int) {
	e := &s.early
	if e.since == 0 || n == 0 {
		return
	}
	e.since = now()
	if e.left -= n; e.left < 0 {
		e.end(s)
	}
}

// end asks the client to stop. mu is held.
func (e *early) end(s *stream) {
	if gone := s.c.reset(s, http2.ErrCodeNo, errAnswered); gone != nil {
		s.c.spawn(gone)
	}
}

// due ends the stream when its time is over, and says when it is. mu is held.
func (e *early) due(s *stream, t int64) int64 {
	if e.since == 0 {
		return never
	}
	at := min(e.since+earlyPause, e.until)
	if at > t {
		return at
	}
	e.end(s)
	return never
}

// hasten leaves those streams little time. mu is held.
func (c *ServerConn) hasten() {
	until := now() + earlyDrain
	for _, s := range c.streams {
		if s.early.since != 0 {
			s.early.until = min(s.early.until, until)
		}
	}
}

// Drop says that nobody reads the request's body any more. Behind a whole response the
// rest of it is dropped as it comes; where the response is not whole, it does nothing.
func (e *exchange) Drop() {
	s, err := e.enter()
	defer e.leave(s)
	if err == nil && s.localEnded && !s.removed {
		e.c.role.(*ServerConn).outlast(s)
	}
}
