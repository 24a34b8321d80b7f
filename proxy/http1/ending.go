package http1

import (
	"net"
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
// away the answer that was sent before (RFC 9112 §9.6). So what it sends is
// read off for a while.
const (
	lingerBytes = 1 << 20
	lingerTime  = 2 * time.Second
)

// linger ends the writing half and reads off what comes. c is to be closed
// after it.
func linger(c net.Conn) {
	until := time.Now().Add(lingerTime)
	c.SetDeadline(until)
	if closeWrite(c) != nil {
		return
	}
	s := socket(c)
	b := borrow(outputBuffer)
	defer giveBack(b)
	for total := 0; total < lingerBytes; {
		n, err := s.Read(b.b)
		total += n
		if err != nil {
			return
		}
	}
}
