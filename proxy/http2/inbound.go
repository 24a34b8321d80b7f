package http2

import (
	"io"

	"golang.org/x/net/http2"
)

// inbox is what has come of a body and was not read yet. The stream's window
// bounds it.
type inbox struct {
	chunks [][]byte
	r      int // in the first chunk
	n      int // bytes in all
	held   int // by chunks
}

func (q *inbox) write(p []byte) {
	q.n += len(p)
	for len(p) > 0 {
		last := len(q.chunks) - 1
		if last < 0 || len(q.chunks[last]) == cap(q.chunks[last]) {
			q.chunks = append(q.chunks, getChunk(len(p)))
			last++
			q.held += cap(q.chunks[last])
		}
		b := q.chunks[last]
		n := copy(b[len(b):cap(b)], p)
		q.chunks[last] = b[:len(b)+n]
		p = p[n:]
	}
}

func (q *inbox) read(p []byte) int {
	total := 0
	for len(p) > 0 && q.n > 0 {
		first := q.chunks[0]
		n := copy(p, first[q.r:])
		p = p[n:]
		total += n
		q.n -= n
		if q.r += n; q.r == len(first) && (q.r == cap(first) || q.n == 0) {
			q.held -= cap(first)
			putChunk(first)
			q.chunks = append(q.chunks[:0], q.chunks[1:]...)
			q.r = 0
		}
	}
	return total
}

// drop throws away all that is there.
func (q *inbox) drop() {
	for _, b := range q.chunks {
		putChunk(b)
	}
	clear(q.chunks)
	q.chunks, q.r, q.n, q.held = q.chunks[:0], 0, 0, 0
}

// readData takes a DATA frame as it comes, not when it is whole: a slow sender
// makes progress, and what has come is there to be read (RFC 9113 §6.1).
func (c *conn) readData(f frame) error {
	if f.id == 0 {
		return broken("DATA without a stream")
	}
	pad := 0
	left := f.length
	if f.flags.Has(http2.FlagDataPadded) {
		if left == 0 {
			return &ConnError{http2.ErrCodeFrameSize, "padded frame without a pad length"}
		}
		p, err := c.in.some(1)
		if err != nil {
			return err
		}
		left--
		if pad = int(p[0]); pad > left {
			return broken("padding longer than its frame")
		}
		left -= pad
	}
	wanted, err := c.beginData(f, f.length-left)
	if err != nil {
		return err
	}
	for left > 0 {
		p, err := c.in.some(left)
		if err != nil {
			return err
		}
		left -= len(p)
		if wanted {
			c.deliver(f.id, p)
		}
	}
	for pad > 0 {
		p, err := c.in.some(pad)
		if err != nil {
			return err
		}
		pad -= len(p)
	}
	if wanted && f.flags.Has(http2.FlagDataEndStream) {
		return c.endData(f.id)
	}
	return nil
}

// beginData counts a DATA frame against the windows, of which the padding is
// consumed at once. It says whether its stream wants it.
func (c *conn) beginData(f frame, padding int) (wanted bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.length == padding && !f.flags.Has(http2.FlagDataEndStream) {
		if err := c.spend(costFrame); err != nil {
			return false, err
		}
	} else if f.length-padding >= smallUpdate {
		c.free.earn(earnData)
	}
	s := c.streams[f.id]
	if s == nil {
		return false, c.strayData(f)
	}
	if err := c.receive(f.length); err != nil {
		return false, err
	}
	if fault := s.receive(f.length, padding); fault != nil {
		return false, c.fault(s, fault)
	}
	if padding > 0 {
		s.consumed(padding)
	}
	return true, nil
}

// receive takes a DATA frame, or says what is wrong with it.
func (s *stream) receive(length, padding int) *streamError {
	switch {
	case s.remoteEnded:
		return &streamError{http2.ErrCodeStreamClosed, "DATA after the end"}
	case s.headless:
		return malformed("DATA before the head")
	case !s.recv.take(length):
		return &streamError{http2.ErrCodeFlowControl, "more than the stream's window"}
	}
	if s.got += int64(length - padding); s.declared >= 0 && s.got > s.declared {
		return malformed("more than content-length")
	}
	return nil
}

// strayData is DATA for a stream that is not there (RFC 9113 §5.1).
func (c *conn) strayData(f frame) error {
	if f.id > c.lastID || !c.mine(f.id) {
		return broken("DATA for a stream that was not begun")
	}
	if err := c.receive(f.length); err != nil {
		return err
	}
	if c.forgot(f.id) {
		return nil
	}
	return c.refuse(f.id, http2.ErrCodeStreamClosed)
}

// deliver puts a piece of a body where its reader finds it. It is thrown away
// where the stream is gone meanwhile.
func (c *conn) deliver(id uint32, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard()
	s := c.streams[id]
	if s == nil || s.err != nil || s.readErr != nil {
		if s != nil && s.early.since != 0 {
			s.consumed(len(p))
			s.drops(len(p))
		}
		return
	}
	if c.hasCome(s, p) && s.reading {
		s.readSince = 0
		s.readable.Signal()
	}
}

func (c *conn) endData(id uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	if s == nil {
		return nil
	}
	return c.endRemote(s)
}

// endRemote takes END_STREAM. mu is held.
func (c *conn) endRemote(s *stream) error {
	if s.declared >= 0 && s.got != s.declared && s.early.since == 0 {
		return c.fault(s, malformed("less than content-length"))
	}
	s.remoteEnded = true
	s.readable.Broadcast()
	c.settle(s)
	return nil
}

// ready says whether read would not wait. mu is held.
func (s *stream) ready() bool {
	return s.in.n > 0 || s.err != nil || s.readErr != nil || s.remoteEnded
}

// read is Body's Read. mu is held, and is let go while it waits.
func (s *stream) read(p []byte) (int, error) {
	s.reading = true
	defer func() {
		s.reading, s.nothing = false, false
		s.readSince = 0
	}()
	for s.in.n == 0 {
		switch {
		case s.err != nil:
			return 0, s.err
		case s.readErr != nil:
			return 0, s.readErr
		case s.nothing:
			return 0, ErrNothing
		case s.remoteEnded:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		s.awaitReadable()
	}
	before := s.in.held
	n := s.in.read(p)
	s.c.waiting -= n
	s.hold.add(s.in.held - before)
	s.consumed(n)
	return n, nil
}
