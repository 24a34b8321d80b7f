package http2

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2"
)

// readWindowUpdate takes a WINDOW_UPDATE frame (RFC 9113 §6.9).
func (c *conn) readWindowUpdate(f frame, p []byte) error {
	if f.length != 4 {
		return &ConnError{http2.ErrCodeFrameSize, "WINDOW_UPDATE of a wrong size"}
	}
	n := binary.BigEndian.Uint32(p) & maxWindow
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < smallUpdate {
		if err := c.spend(costFrame); err != nil {
			return err
		}
	}
	if f.id == 0 {
		return c.openConn(n)
	}
	s, err := c.known(f)
	if s == nil || err != nil {
		return err
	}
	switch {
	case n == 0:
		return c.fault(s, malformed("WINDOW_UPDATE of nothing"))
	case int64(s.sendWindow)+int64(n) > maxWindow:
		return c.fault(s, &streamError{http2.ErrCodeFlowControl, "window of a stream overflows"})
	}
	s.sendWindow += int32(n)
	s.opened()
	return nil
}

// smallUpdate is what a peer opens a window by at least if it means to read.
const smallUpdate = 1 << 10

func (c *conn) openConn(n uint32) error {
	switch {
	case n == 0:
		return broken("WINDOW_UPDATE of nothing")
	case int64(c.sendWindow)+int64(n) > maxWindow:
		return &ConnError{http2.ErrCodeFlowControl, "window of the connection overflows"}
	}
	c.sendWindow += int32(n)
	if len(c.senders) > 0 {
		c.out.moved = now()
	}
	c.nextSender()
	return nil
}

// pendingLimit is what may wait for the peer to read before senders wait: less for
// a client that has neither sent nor read much, so that it cannot have much kept
// for it by not reading. What the socket's buffer may hold does not count as read.
func (c *conn) pendingLimit() int {
	if c.client {
		return maxPending
	}
	read := max(0, c.out.written-maxPending) / 4
	return int(min(maxPending, minPending+4*c.heardBytes+read))
}

const minPending = 4 << 10

// canSend says whether anything can be sent on some stream.
func (c *conn) canSend() bool {
	return c.sendWindow > 0 && len(c.out.pending) < c.pendingLimit() || c.out.err != nil
}

// nextSender wakes the sender that has waited longest, if it can send. Having
// sent a frame it wakes the next one, so a window that opens a little wakes one
// sender and not all of them.
func (c *conn) nextSender() {
	if len(c.senders) > 0 && c.canSend() {
		s := c.senders[0]
		c.senders = append(c.senders[:0], c.senders[1:]...)
		s.queued, s.turn = false, true
		s.writable.Signal()
	}
}

// leaveQueue takes s out of the senders that wait, or gives its turn away.
func (c *conn) leaveQueue(s *stream) {
	if s.queued {
		for i, other := range c.senders {
			if other == s {
				c.senders = append(c.senders[:i], c.senders[i+1:]...)
				break
			}
		}
		s.queued = false
	}
	if s.turn {
		s.turn = false
		c.nextSender()
	}
}

// stuckAfter is how long a write may last before its connection counts as saturated:
// some round trips of most lines.
const stuckAfter = int64(200 * time.Millisecond)

// Saturated reports whether the connection as a whole holds back a request: the backend
// has not read for a while what was written or, for a request with a body, has its window
// used up. One stream that the backend does not read can do that to all others.
func (c *ClientConn) Saturated(body bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.since != 0 && c.out.since < now()-stuckAfter {
		return true
	}
	return body && (len(c.senders) > 0 || c.sendWindow < maxPayload)
}
