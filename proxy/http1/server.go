package http1

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/proxy/message"
)

// ServerConn is a client's connection. It is for one goroutine, but for the
// methods that say otherwise. That goroutine loops over Next, answers what it
// gets, and calls Close in the end.
type ServerConn struct {
	cfg      *Config
	conn     net.Conn
	in       input
	out      output
	room     writable
	exchange Exchange
	served   bool          // a request has come before
	closing  bool          // nothing more is read
	quiet    bool          // no request has come for a while
	waits    time.Duration // since epoch: when the wait for a request began
	waiting  atomic.Int64  // since epoch: waits, for a request or its head; 0: not
	broken   atomic.Bool

	mu       sync.Mutex
	idle     bool // waits for a request's first byte
	draining bool

	first   [1]byte
	refused *message.Request // what was read of a head that was refused
}

// NewServerConn takes conn over. cfg must have its defaults.
func NewServerConn(conn net.Conn, cfg *Config) *ServerConn {
	c := &ServerConn{cfg: cfg, conn: conn}
	c.in.conn = conn
	c.out.on(conn, cfg.Write)
	c.in.by.forget()
	c.exchange.conn = c
	c.exchange.body.x = &c.exchange
	return c
}

// Next ends the last exchange and waits for the next one, which is valid until
// Next or Close is called again: no other goroutine may use it then but for
// Reset. While it waits, the connection holds no buffer.
//
// The errors: io.EOF when the connection has ended well, also by Drain or
// because the last exchange was to be its last one. ErrQuiet, at most once in a
// wait, when none has come for some seconds: the caller goes on with Next. *Error for a request that
// must be refused, with Refuse. ErrIdle, and ErrUnanswered where the last exchange
// was not answered to its end. Any other is the network's. None but *Error has
// anybody left to answer, and the connection is closed already.
func (c *ServerConn) Next() (*Exchange, error) {
	x, err := c.next()
	if err != nil {
		var refused *Error
		if !errors.As(err, &refused) && err != ErrQuiet {
			c.Close()
		}
		return nil, err
	}
	return x, nil
}

func (c *ServerConn) next() (*Exchange, error) {
	if err := c.exchange.finish(); err != nil {
		return nil, err
	}
	if len(c.in.unread()) == 0 {
		if err := c.await(); err != nil {
			return nil, err
		}
	}
	c.served = true
	if err := c.readHead(); err != nil {
		c.closing = true
		return nil, err
	}
	return &c.exchange, nil
}

// quietAfter is how long a connection waits for a request before Next says so.
const quietAfter = 3 * time.Second

// await waits for a request's first byte, in steps: the first one is short, so
// that a busy connection has its deadline set but every now and then, and a quiet
// one can be told apart from it.
func (c *ServerConn) await() error {
	limit := c.cfg.Idle
	if !c.served {
		limit = c.cfg.Header
	}
	now := time.Since(epoch)
	if !c.quiet {
		c.waits = now
		c.waiting.Store(int64(now))
	}
	for ; ; now = time.Since(epoch) {
		var err error
		if left := limit - (now - c.waits); !c.quiet && left > quietAfter {
			err = c.in.by.from(now, quietAfter, c.conn.SetReadDeadline)
		} else {
			err = c.in.by.at(now+left, c.conn.SetReadDeadline)
		}
		if err != nil {
			return err
		}
		n, err := c.awaitByte()
		if n > 0 {
			c.quiet = false
			c.in.makeRoom()
			c.in.put(c.first[:])
			return nil
		}
		if c.isDraining() {
			return io.EOF
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		c.in.by.forget()
		if time.Since(epoch)-c.waits >= limit {
			return ErrIdle
		}
		if !c.quiet {
			c.quiet = true
			return ErrQuiet
		}
	}
}

// awaitByte marks the connection as idle while it reads. Drain wakes it by the
// deadline, under the lock, so that it never wakes one that has begun to read a head.
func (c *ServerConn) awaitByte() (int, error) {
	c.mu.Lock()
	if c.draining {
		c.mu.Unlock()
		return 0, nil
	}
	c.idle = true
	c.mu.Unlock()
	n, err := c.conn.Read(c.first[:])
	c.mu.Lock()
	c.idle = false
	c.mu.Unlock()
	if n > 0 && c.isDraining() {
		c.in.by.forget() // it may be the past
	}
	return n, err
}

func (c *ServerConn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// Drain has the connection end with the exchange that is under way, or now if
// there is none. Any goroutine may call it.
func (c *ServerConn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.idle {
		c.conn.SetReadDeadline(past)
	}
}

// readHead reads the rest of a head and begins the exchange. Most heads come with
// their first byte; only one that does not has its time set.
func (c *ServerConn) readHead() error {
	h := requestHead{cfg: c.cfg}
	h.begin(&c.in)
	for reads := 0; ; reads++ {
		more, err := h.parse(&c.in)
		if err != nil {
			c.refused = h.line(&c.in)
			return err
		}
		if !more {
			return c.begin(&h)
		}
		if reads == 1 {
			c.in.by.forget()
			if err := c.in.within(c.cfg.Header); err != nil {
				return err
			}
			c.waiting.CompareAndSwap(0, int64(time.Since(epoch)))
		}
		buf := c.in.buf
		if err := c.in.more(); err != nil && (reads > 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			if c.in.buf != buf {
				h.begin(&c.in)
				h.parse(&c.in)
			}
			c.refused = h.line(&c.in)
			return headError(err) // before that it was the first byte's deadline
		}
		if c.in.buf != buf {
			h.begin(&c.in)
		}
	}
}

// Refused is what was read of a request that Next refused: its method, target and Host as they
// came, until Refuse or Close is called. Of what is no request line the target is all that came.
func (c *ServerConn) Refused() *message.Request { return c.refused }

// headError is the error of a head that did not come as a whole.
func headError(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *ServerConn) begin(h *requestHead) error {
	x := &c.exchange
	c.waiting.Store(0)
	if err := h.finish(&c.in, &x.request); err != nil {
		c.refused = h.line(&c.in)
		return err
	}
	c.in.r = h.pos
	c.in.pin()
	x.begin()
	return nil
}

// Waited is how long the connection has waited for a request, to its head's end; 0: it does
// not. Any goroutine may ask.
func (c *ServerConn) Waited() time.Duration {
	since := c.waiting.Load()
	if since == 0 {
		return 0
	}
	return time.Since(epoch) - time.Duration(since)
}

// Close closes the connection. An exchange that is under way is reset; its
// memory is not lent to anybody else then, since a goroutine that is just being
// woken may still use it.
func (c *ServerConn) Close() {
	if c.exchange.open {
		if !c.exchange.ended {
			c.exchange.Reset()
		}
		c.conn.Close()
		return
	}
	c.conn.Close()
	c.in.r = c.in.w
	c.in.release()
	c.out.drop()
}

// Gone says whether the client has gone away, without reading from it. It
// costs a system call: who waits for a backend asks once in a while. Any goroutine may.
func (c *ServerConn) Gone() bool { return gone(c.conn) }

// bodyKind is how a request's body is framed.
func bodyKind(r *message.Request) kind {
	switch r.Length {
	case 0:
		return none
	case message.Unknown:
		return inChunks
	}
	return counted
}
