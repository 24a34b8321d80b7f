package proxy

import (
	"context"
	"net"
	"slices"
)

// rehearsal is a socket during the first try of a handshake: it keeps what the
// client sends, so that the handshake can be made again from the start as long
// as the client has been sent nothing. It belongs to the handshake's goroutine
// and is taken out of the connection before anyone else sees that.
type rehearsal struct {
	net.Conn
	heard  []byte    // what the client has sent
	first  int       // bytes of that which came before the handshake began
	read   int       // of these
	over   bool      // something was sent, or more was heard than is kept
	failed bool      // a signature failed before that
	place  computing // among those who compute; nil: it has none
}

const (
	firstHeard = 2 << 10 // most ClientHellos
	// maxHeard bounds what is kept of a client's first words: a ClientHello
	// with post-quantum key shares and a ticket has 3 KB at most.
	maxHeard = 32 << 10
)

// newRehearsal waits for the client's ClientHello: until it is whole a connection takes
// little memory and its goroutine little of a stack, and the handshake's time has not begun.
func newRehearsal(ctx context.Context, c net.Conn) (*rehearsal, error) {
	interrupted := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(past) }) // or it is closed
	heard, err := hearHello(c)
	if !interrupted() {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return &rehearsal{Conn: c, heard: heard, first: len(heard)}, nil
}

// hearHello reads until a ClientHello is whole, or what has come is none.
func hearHello(c net.Conn) ([]byte, error) {
	var first [1]byte
	n, err := c.Read(first[:])
	if err != nil {
		return nil, err
	}
	heard := append(make([]byte, 0, firstHeard), first[:n]...)
	for !helloOver(heard) && len(heard) < maxHeard {
		if len(heard) == cap(heard) {
			heard = slices.Grow(heard, len(heard))
		}
		n, err := c.Read(heard[len(heard):cap(heard)])
		if err != nil {
			return nil, err
		}
		heard = heard[:len(heard)+n]
	}
	return heard, nil
}

// helloOver reports whether b holds a whole ClientHello, in however many records
// (RFC 8446 §5.1), or begins with something else.
func helloOver(b []byte) bool {
	const (
		recordHead  = 5
		messageHead = 4
		handshake   = 22
		clientHello = 1
	)
	var head []byte // of the message
	got := 0        // bytes of the message
	for {
		switch {
		case len(b) > 0 && b[0] != handshake:
			return true
		case len(b) < recordHead:
			return false
		}
		length := int(b[3])<<8 | int(b[4])
		if length == 0 {
			return true // nobody sends that; crypto/tls says what is wrong with it
		}
		payload := b[recordHead:min(len(b), recordHead+length)]
		got += len(payload)
		head = append(head, payload[:min(messageHead-len(head), len(payload))]...)
		if len(head) > 0 && head[0] != clientHello {
			return true
		}
		if len(head) == messageHead && got >= messageHead+(int(head[1])<<16|int(head[2])<<8|int(head[3])) {
			return true
		}
		if len(b) < recordHead+length {
			return false
		}
		b = b[recordHead+length:]
	}
}

// Read reads from the socket and keeps a copy.
func (r *rehearsal) Read(b []byte) (int, error) {
	if r.read < r.first {
		n := copy(b, r.heard[r.read:r.first])
		r.read += n
		return n, nil
	}
	r.rest()
	n, err := r.Conn.Read(b)
	if !r.over {
		if r.over = len(r.heard)+n > maxHeard; !r.over {
			r.heard = append(r.heard, b[:n]...)
		}
	}
	return n, err
}

// Write writes to the socket. After a signature failed, with nothing sent yet,
// it is the flight that lacks the signature and the alert that come here: they
// are dropped, for the handshake is made again.
func (r *rehearsal) Write(b []byte) (int, error) {
	r.rest()
	if r.failed {
		return len(b), nil
	}
	r.over = true
	return r.Conn.Write(b)
}

// signatureFailed notes why the handshake under way fails.
func (r *rehearsal) signatureFailed() { r.failed = !r.over }

// replay is the socket as it was when the client connected.
func (r *rehearsal) replay() net.Conn { return &replayed{Conn: r.Conn, first: r.heard} }

// replayed is a socket with bytes to be read before its own.
type replayed struct {
	net.Conn
	first []byte
}

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.first) == 0 {
		return r.Conn.Read(b)
	}
	n := copy(b, r.first)
	if r.first = r.first[n:]; len(r.first) == 0 {
		r.first = nil // the connection may live long
	}
	return n, nil
}

// NetConn lets codecs find the socket.
func (r *replayed) NetConn() net.Conn { return r.Conn }
