package http2

import (
	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// opened tells a sender that the stream's window has moved.
func (s *stream) opened() {
	if s.sendWindow > 0 && s.sending && !s.queued {
		s.writable.Signal()
	}
}

// write is WriteBody. mu is held, and is let go while it waits.
func (s *stream) write(p []byte, flush bool) error {
	c := s.c
	if s.sendLeft >= 0 {
		if int64(len(p)) > s.sendLeft {
			return errLength
		}
		s.sendLeft -= int64(len(p))
	}
	for len(p) > 0 {
		if err := s.await(); err != nil {
			return err
		}
		n := min(len(p), maxPayload, int(s.sendWindow), int(c.sendWindow))
		if n < smallData && n < len(p) {
			if err := c.spend(costFrame + earnSent); err != nil {
				c.failSoon(err)
				return err
			}
		}
		c.free.earn(earnSent)
		c.out.room(headLen + n)
		s.lastData, s.lastTaken = len(c.out.pending)+headLen, c.out.taken
		c.out.pending = frame{length: n, kind: http2.FrameData, id: s.id}.append(c.out.pending)
		c.out.pending = append(c.out.pending, p[:n]...)
		p = p[n:]
		s.sendWindow -= int32(n)
		c.sendWindow -= int32(n)
		s.turn = false
		c.nextSender()
		if len(c.out.pending) >= c.pendingLimit()/2 {
			c.flush()
		}
	}
	if flush {
		c.flush()
	} else {
		c.keep()
	}
	return nil
}

// smallData is a piece so small that only the peer's window can be why.
const smallData = 256

// await waits until s may send a DATA frame of at least a byte.
func (s *stream) await() error {
	c := s.c
	defer func() { s.sendSince = 0 }()
	for {
		switch {
		case s.err != nil:
			c.leaveQueue(s)
			return s.err
		case c.out.err != nil:
			c.leaveQueue(s)
			return c.out.err
		case s.stopped:
			c.leaveQueue(s)
			return ErrStopped
		case s.localEnded:
			c.leaveQueue(s)
			return errMisuse
		case s.sendWindow <= 0:
			c.leaveQueue(s)
		case c.canSend() && (s.turn || len(c.senders) == 0):
			return nil
		case !s.queued:
			s.queued, s.turn = true, false
			c.senders = append(c.senders, s)
		}
		c.flush() // the peer opens no window for what it has not got
		if s.waits() {
			s.sendWait()
		}
	}
}

// waits says whether there is still a reason to, after mu was let go.
func (s *stream) waits() bool {
	return s.err == nil && s.c.out.err == nil && !s.localEnded &&
		(s.sendWindow <= 0 || s.queued)
}

func (s *stream) sendWait() {
	if s.sendSince == 0 {
		s.sendSince = now()
		s.c.arm(s.sendSince + int64(s.c.cfg.Write))
	}
	s.sending = true
	s.writable.Wait()
	s.sending = false
}

// end is the stream's END_STREAM, on its last DATA frame if that has not left,
// and on trailers if there are any. mu is held.
func (s *stream) end(trailers []message.Field) {
	c := s.c
	switch {
	case len(trailers) > 0:
		c.appendSection(s.id, true, fieldsSize(trailers), func(b []byte) []byte { return appendFields(b, trailers) })
	case s.lastTaken == c.out.taken && s.lastData > 0:
		c.out.pending[s.lastData-headLen+4] |= byte(http2.FlagDataEndStream)
	default:
		c.out.pending = frame{kind: http2.FrameData, flags: http2.FlagDataEndStream, id: s.id}.append(c.out.room(headLen))
	}
	s.localEnded = true
	c.settle(s)
}
