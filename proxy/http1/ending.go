package http1

import (
	"errors"
	"net"
	"os"
	"time"
)

// socket is the connection that c speaks through, below TLS and whatever else
// names what it wraps.
func socket(c net.Conn) net.Conn {
	for {
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = wrapper.NetConn()
	}
}

// closeWrite tells the peer that nothing more comes: by TLS's close_notify, and
// by TCP's FIN where it can.
func closeWrite(c net.Conn) error {
	type halfCloser interface{ CloseWrite() error }
	h, ok := c.(halfCloser)
	if !ok {
		return c.Close()
	}
	if err := h.CloseWrite(); err != nil {
		return err
	}
	if s, ok := socket(c).(halfCloser); ok && s != h {
		return s.CloseWrite()
	}
	return nil
}

// abort closes the connection so that the peer cannot take what it has got for
// all there is.
func abort(c net.Conn) {
	s := socket(c)
	if l, ok := s.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
	s.Close()
}

// Someone who still sends while a connection is closed gets a reset, which may take
// away the response that was sent before (RFC 9112 §9.6). Some send all before they read. So
// what comes is read off and thrown away, for as long as nginx does it.
const (
	lingerTime    = 30 * time.Second
	lingerSilence = 5 * time.Second
	lingerBytes   = 256 << 20
	lingerDrain   = time.Second // once the connection is to end
)

// linger ends the writing half and reads off what comes. The connection is to be closed
// after it.
func (c *ServerConn) linger() {
	c.conn.SetDeadline(time.Now().Add(lingerStep))
	if closeWrite(c.conn) != nil {
		return
	}
	s := socket(c.conn)
	b := borrow(smallBuffer)
	defer giveBack(b)
	began := time.Now()
	for total, heard := 0, began; total < lingerBytes; {
		now := time.Now()
		end := min(lingerTime-now.Sub(began), lingerSilence-now.Sub(heard))
		if c.isDraining() {
			end = min(end, lingerDrain-now.Sub(began))
		}
		if end <= 0 {
			return
		}
		s.SetReadDeadline(now.Add(min(end, lingerStep)))
		n, err := s.Read(b.b)
		if total += n; n > 0 {
			heard = now
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// lingerStep is how often it looks whether the connection is to end.
const lingerStep = 500 * time.Millisecond
