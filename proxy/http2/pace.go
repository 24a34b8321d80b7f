package http2

import (
	"net"
	"time"
)

// pacer is a socket that bounds by itself how long its writes wait without progress, which is
// what the peer has acknowledged: they fail with os.ErrDeadlineExceeded then. A peer of
// another one has to take each part of what is written within Config.Write.
type pacer interface {
	PaceWrites(limit time.Duration)
}

// pace has the socket below do that, if it is one.
func (c *conn) pace() {
	s := c.nc
	for {
		wrapper, ok := s.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		s = wrapper.NetConn()
	}
	if p, ok := s.(pacer); ok {
		p.PaceWrites(c.cfg.Write)
		c.out.paced = true
	}
}

// stall ends a connection whose peer has taken nothing for too long. mu is held.
func (c *conn) stall() {
	c.out.err = errWriteSlow
	for _, f := range c.end(errWriteSlow) {
		c.spawn(f)
	}
}

// sendSinceMoved is since when s waits to send without progress; 0: it does not. A
// stream that waits for its own window waits for the peer's WINDOW_UPDATE. One that waits for
// its turn makes progress with those before it, whose bytes the peer takes: while a write is
// under way, that is bounded by the socket. mu is held.
func (s *stream) sendSinceMoved(t int64) int64 {
	o := &s.c.out
	switch {
	case s.sendSince == 0 || !s.queued:
		return s.sendSince
	case o.paced && o.since != 0:
		return t
	}
	return max(s.sendSince, o.moved)
}

// Stalled is for how long all streams of the connection have waited for the client to let them
// send; 0: not all do. Any goroutine may ask.
func (c *ServerConn) Stalled() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := now()
	var last int64
	for _, s := range c.streams {
		since := s.sendSinceMoved(t)
		if since == 0 {
			return 0
		}
		last = max(last, since)
	}
	if last == 0 {
		return 0
	}
	return time.Duration(t - last)
}
