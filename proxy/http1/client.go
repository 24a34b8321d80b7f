package http1

import (
	"bytes"
	"net"
	"sync/atomic"
	"time"

	"sallyport/proxy/message"
)

// ClientConn is a connection to a backend. One call after the other may use it,
// each by one goroutine that owns it then; see Call.
type ClientConn struct {
	cfg    *ClientConfig
	conn   net.Conn
	in     input
	out    output
	call   Call
	silent *silent
	asker  Asker // nil: conn is none
	asked  func()
	closed atomic.Bool
}

// Asker is a connection that can send a request and read the first of its answer
// in one step, which costs less than one by one.
type Asker interface {
	// Ask looks whether something has come, and fails with ErrUnasked if it has. Else it
	// sends request, calls sent, which ends the use of request, and reads as Read does.
	Ask(request, p []byte, sent func()) (int, error)
}

// NewClientConn takes conn over. cfg must have its defaults.
func NewClientConn(conn net.Conn, cfg *ClientConfig) *ClientConn {
	c := &ClientConn{cfg: cfg, conn: conn, silent: newSilent(conn)}
	c.in.conn = conn
	c.out.on(conn, cfg.Write)
	c.in.by.forget()
	c.asker, _ = conn.(Asker)
	c.asked = c.out.drop
	c.out.look = c.look
	c.call.conn = c
	c.call.body.answer = true
	return c
}

// Alive says whether an unused connection can be tried: its backend has
// neither closed it nor said anything unasked. It costs a system call, and a backend
// may still do either the moment after. A call looks by itself before it sends anything;
// this is for who needs to know before that.
func (c *ClientConn) Alive() bool { return !c.closed.Load() && c.silent.now() }

// look is an output's.
func (c *ClientConn) look() error {
	if !c.Alive() {
		return ErrUnasked
	}
	return nil
}

// Call begins a call. The last one must have been released.
func (c *ClientConn) Call() *Call {
	c.call.begin()
	return &c.call
}

// Close closes the connection. Any goroutine may call it, more than once.
func (c *ClientConn) Close() {
	if c.closed.CompareAndSwap(false, true) {
		c.conn.Close()
	}
}

// Release ends the use of the last call and says whether the connection can
// serve another one; it is closed if not. Only the goroutine that owns the
// connection may call it, when nobody uses the call or what it got of it any more.
func (c *ClientConn) Release() (reusable bool) {
	if !c.call.over() {
		c.Close()
		return false // and what its memory was used for may not have ended yet
	}
	reusable = len(c.in.unread()) == 0 && !c.closed.Load()
	if !reusable {
		c.Close()
	}
	l := c.Lend()
	l.Free()
	return reusable
}

// Answered is what the call's says, for any goroutine.
func (c *ClientConn) Answered() bool { return c.call.Answered() }

// KeepAlive is how long a backend said with its last response that it keeps the connection,
// with something taken off for the way there; 0 is nothing, and less than that is not at all.
func (c *ClientConn) KeepAlive() time.Duration { return c.call.keep }

// parseKeepAlive reads a Keep-Alive, which no standard has (RFC 2068 §19.7.1.1): "timeout=5,
// max=99" is 5 seconds, and 99 requests more.
func parseKeepAlive(value []byte) time.Duration {
	var keep time.Duration
	for len(value) > 0 {
		parameter, rest, _ := bytes.Cut(value, comma)
		value = rest
		name, text, _ := bytes.Cut(parameter, equals)
		n, err := parseLength(trim(text))
		switch name = trim(name); {
		case err != nil:
		case fold(name, "max") && n == 0, fold(name, "timeout") && n == 0:
			return -1
		case fold(name, "timeout"):
			keep = time.Duration(min(n, maxKeepAlive)) * time.Second
		}
	}
	return keep - min(keep/2, time.Second)
}

// maxKeepAlive is more seconds than any timeout here.
const maxKeepAlive = 1 << 20

var equals = []byte{'='}

// Loan is the memory that a response's head and trailers are in.
type Loan struct{ head, buf *buffer }

// Over says whether the last call left nothing behind on its connection, as far as
// is known: it has been sent, and its response has come as a whole.
func (x *Call) Over() bool { return x.over() && len(x.conn.in.unread()) == 0 && !x.conn.closed.Load() }

// Lend is Release for a call that is Over, but for the memory that the head and the
// trailers are in: it stays as it is until Loan.Free. What the call and its body say is not
// valid any more.
func (c *ClientConn) Lend() (l Loan) {
	l = Loan{c.in.head, c.in.buf}
	c.in.head, c.in.buf = nil, nil
	c.in.r, c.in.w, c.in.pinned = 0, 0, false
	c.out.drop()
	c.call.response = message.Response{}
	return l
}

// Free ends the use of the memory.
func (l *Loan) Free() {
	for _, b := range [...]*buffer{l.head, l.buf} {
		if b != nil {
			giveBack(b)
		}
	}
	*l = Loan{}
}
