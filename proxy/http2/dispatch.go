package http2

import (
	"encoding/binary"
	"io"

	"golang.org/x/net/http2"
)

// read reads frames until there is an error. A server's begin with the preface.
func (c *conn) read(preface int) error {
	if preface > 0 {
		p, err := c.in.need(preface, false)
		if err != nil {
			return err
		}
		if string(p) != http2.ClientPreface {
			return broken("not HTTP/2")
		}
		c.in.skip(preface)
	}
	for {
		p, err := c.in.need(headLen, c.block != nil)
		if err == io.EOF {
			return errGone
		}
		if err != nil {
			return err
		}
		f := parseFrame(p)
		c.in.skip(headLen)
		if err := c.readFrame(f); err != nil {
			return err
		}
		if c.isLate {
			c.inTime()
		}
		if err := c.goOn(); err != nil {
			return err
		}
	}
}

// goOn says whether to read on: not where the connection was ended meanwhile,
// nor where the peer asks for more answers than it reads.
func (c *conn) goOn() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard()
	c.heardBytes = c.in.total
	switch {
	case c.closing:
		return errClosed
	case len(c.out.pending) > 4*maxPending:
		return &ConnError{codeCalm, "asks for more than it reads"}
	}
	return nil
}

func (c *conn) readFrame(f frame) error {
	switch {
	case f.length > maxPayload:
		return &ConnError{http2.ErrCodeFrameSize, "frame larger than allowed"}
	case !c.greeted && (f.kind != http2.FrameSettings || f.flags.Has(http2.FlagSettingsAck)):
		return broken("does not begin with SETTINGS")
	case c.block != nil && f.kind != http2.FrameContinuation:
		return broken("field section interrupted")
	case f.kind == http2.FrameData:
		return c.readData(f)
	}
	p, err := c.in.need(f.length, true)
	if err != nil {
		return err
	}
	err = c.readWhole(f, p)
	c.in.skip(f.length)
	return err
}

// readWhole takes a frame that is not DATA.
func (c *conn) readWhole(f frame, p []byte) error {
	switch f.kind {
	case http2.FrameHeaders:
		return c.readHeaders(f, p)
	case http2.FrameContinuation:
		return c.readContinuation(f, p)
	case http2.FrameSettings:
		c.greeted = true
		return c.readSettings(f, p)
	case http2.FrameWindowUpdate:
		return c.readWindowUpdate(f, p)
	case http2.FrameRSTStream:
		return c.readReset(f, p)
	case http2.FramePing:
		return c.readPing(f, p)
	case http2.FrameGoAway:
		return c.readGoAway(f, p)
	case http2.FramePriority:
		return c.readPriority(f, p)
	case http2.FramePushPromise:
		return broken("PUSH_PROMISE, which was not allowed")
	default:
		return c.charge(costFrame) // unknown frames are ignored (RFC 9113 §5.5)
	}
}

func parent(p []byte) uint32 { return binary.BigEndian.Uint32(p) & maxWindow }

// readPriority ignores a PRIORITY frame, but for its faults.
func (c *conn) readPriority(f frame, p []byte) error {
	switch {
	case f.id == 0:
		return broken("PRIORITY without a stream")
	case f.length != 5:
		return &ConnError{http2.ErrCodeFrameSize, "PRIORITY of a wrong size"}
	case parent(p) == f.id:
		return broken("stream depends on itself")
	}
	return c.charge(costFrame)
}

func (c *conn) readPing(f frame, p []byte) error {
	switch {
	case f.id != 0:
		return broken("PING on a stream")
	case f.length != 8:
		return &ConnError{http2.ErrCodeFrameSize, "PING of a wrong size"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.flags.Has(http2.FlagPingAck) {
		if [8]byte(p) == linePing && c.line.asked {
			c.measured()
			return nil
		}
		c.role.pong([8]byte(p))
		return c.spend(costFrame)
	}
	c.out.pending = appendPing(c.out.room(headLen+8), http2.FlagPingAck, [8]byte(p))
	c.flushSoon()
	return c.spend(costFrame)
}

func (c *conn) readReset(f frame, p []byte) error {
	switch {
	case f.id == 0:
		return broken("RST_STREAM without a stream")
	case f.length != 4:
		return &ConnError{http2.ErrCodeFrameSize, "RST_STREAM of a wrong size"}
	}
	gone, err := c.takeReset(f, http2.ErrCode(binary.BigEndian.Uint32(p)))
	if gone != nil {
		gone()
	}
	return err
}

func (c *conn) takeReset(f frame, code http2.ErrCode) (gone func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.known(f)
	if s == nil || err != nil {
		return nil, err
	}
	switch {
	case c.client && s.remoteEnded:
		// The answer is whole (RFC 9113 §8.1).
		s.stopped, s.localEnded = true, true
		c.settle(s)
	case c.client:
		c.drop(s, &ResetError{code})
	default:
		cost := s.givenUp()
		gone = c.drop(s, &ResetError{code})
		err = c.vain(cost)
	}
	return gone, err
}

func (c *conn) readGoAway(f frame, p []byte) error {
	switch {
	case f.id != 0:
		return broken("GOAWAY on a stream")
	case f.length < 8:
		return &ConnError{http2.ErrCodeFrameSize, "GOAWAY of a wrong size"}
	}
	last := binary.BigEndian.Uint32(p) & maxWindow
	code := http2.ErrCode(binary.BigEndian.Uint32(p[4:]))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goneTo = min(c.goneTo, last)
	c.goneBy = &GoAwayError{code}
	c.role.wentAway()
	return c.spend(costFrame)
}
