package proxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"sallyport/proxy/http1"
)

// A request for which no connection is idle has one made, and takes the first that it can
// have: that one, another that was being made, or one that falls idle meanwhile.
//
// Where that takes longer than patience, the request looks for another backend, as long as it has
// waited for no longer than the connect timeout in all. One dial for each backend goes on then: it
// has the ticket of its request, and tells the balancer what became of it.

// patience is how long a request waits for a connection before it looks for another backend.
// A SYN that is lost is sent again after a second (RFC 6298 §2).
func (p *Pool) patience() time.Duration { return min(300*time.Millisecond, p.ConnectTimeout/4) }

// errMoved says that a request looks for a connection to another backend.
var errMoved = errors.New("no connection yet")

// waiter is a request that waits for a connection, and the dial that was begun for it.
type waiter struct {
	address string
	got     chan *backendConn // holds one at most
	failed  chan error        // likewise
	woken   wake
	cancel  context.CancelFunc // of its dial

	// Guarded by the pool's mu.
	ticket uint64 // of a request that went elsewhere
	left   bool   // it did
}

// interrupt wakes the request's goroutine.
func (w *waiter) interrupt() { w.woken.interrupt() }

// dial implements links.
func (cs *connections) dial(x *exchange, address string, other func() bool) (link, error) {
	if cs.pool.ProxyHeader != 0 {
		return cs.dialOwn(x, address)
	}
	w := cs.wait(address)
	if w == nil {
		return nil, errCut
	}
	x.waits.in(w)
	defer x.waits.in(nil)
	patience := time.NewTicker(cs.pool.patience())
	defer patience.Stop()
	for {
		select {
		case c := <-w.got:
			if c.mayServe(x) {
				return c.begin(x), nil
			}
			cs.drop(c)
			if w = cs.wait(address); w == nil {
				return nil, errCut
			}
			x.waits.in(w)
		case err := <-w.failed:
			if c := cs.leave(w); c != nil {
				if c.mayServe(x) {
					return c.begin(x), nil
				}
				cs.drop(c)
			}
			return nil, err
		case <-w.woken:
			w.cancel()
			if c := cs.leave(w); c != nil && !cs.keep(c) {
				cs.drop(c)
			}
			return nil, context.Canceled
		case <-patience.C:
			if !other() {
				continue
			}
			c, kept := cs.moveOn(w, x.ticket)
			if c != nil {
				if c.mayServe(x) {
					return c.begin(x), nil
				}
				cs.drop(c)
			}
			x.handed = kept
			return nil, errMoved
		}
	}
}

// wait puts a request among those that wait for a connection, and begins a dial. It returns
// nil where no connections are made any more.
func (cs *connections) wait(address string) *waiter {
	w := &waiter{address: address, got: make(chan *backendConn, 1), failed: make(chan error, 1), woken: make(wake, 1)}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return nil
	}
	b := cs.of(address)
	b.waiting = append(b.waiting, w)
	var ctx context.Context
	ctx, w.cancel = context.WithTimeout(cs.dials, cs.pool.ConnectTimeout)
	cs.running.Go(func() {
		defer w.cancel()
		cs.connect(ctx, w)
	})
	return w
}

// leave takes a request out of those that wait. It returns a connection that has come
// meanwhile.
func (cs *connections) leave(w *waiter) *backendConn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.of(w.address).leave(w)
}

func (b *kept) leave(w *waiter) *backendConn {
	if i := slices.Index(b.waiting, w); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
	select {
	case c := <-w.got:
		return c
	default:
		return nil
	}
}

// moveOn is leave for a request that tries another backend. Its dial goes on, and has the
// ticket, unless another one does already.
func (cs *connections) moveOn(w *waiter, ticket uint64) (c *backendConn, handed bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	b := cs.of(w.address)
	if c := b.leave(w); c != nil {
		return c, false
	}
	if b.dialled != nil {
		w.cancel()
		return nil, false
	}
	select {
	case err := <-w.failed: // just now
		w.failed <- err
		return nil, false
	default:
	}
	w.left, w.ticket = true, ticket
	b.dialled = w
	return nil, true
}

// serve gives a connection to the request that has waited longest. The caller holds the pool's mu.
func (b *kept) serve(c *backendConn) {
	w := b.waiting[0]
	b.waiting = slices.Delete(b.waiting, 0, 1)
	w.got <- c
}

// connect makes a connection for a request, or for whoever needs it first.
func (cs *connections) connect(ctx context.Context, w *waiter) {
	c, err := cs.openConn(ctx, w.address)
	cs.mu.Lock()
	b := cs.of(w.address)
	spare := c
	if c != nil && !cs.closed {
		cs.open[c] = struct{}{}
		c.idle, c.keep = time.Since(epoch), cs.pool.IdleTimeout
		switch {
		case len(b.waiting) > 0:
			c.first = b.firsts.begin(cs, c)
			b.serve(c)
			spare = nil
		case cs.hasRoom(b):
			b.idle = append(b.idle, c)
			spare = nil
		}
	}
	if err != nil {
		w.failed <- err
	}
	left, ticket := w.left, w.ticket
	if left {
		b.dialled = nil
	}
	cs.mu.Unlock()
	if spare != nil {
		cs.drop(spare)
	}
	if left {
		cs.ended(ticket, err)
	}
}

// ended tells the balancer of a dial whose request went elsewhere.
func (cs *connections) ended(ticket uint64, err error) {
	if err == nil || cs.dials.Err() != nil || isShortage(err) {
		err = context.Canceled // a connection was told of already
	}
	cs.pool.Balancer.Release(ticket, err)
}

// openConn makes a connection. A panic is an error, too.
func (cs *connections) openConn(ctx context.Context, address string) (c *backendConn, err error) {
	if cs.server != nil {
		defer cs.server.caught(inBackend, func() { c, err = nil, dialError(errPanicked) })
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	cs.pool.reached(address)
	return cs.made(raw, address), nil
}

func (cs *connections) made(raw net.Conn, address string) *backendConn {
	t := newTCPConn(raw)
	tcp, _ := t.(*tcpConn)
	c := &backendConn{pool: cs, socket: &socket{Conn: t, tcp: tcp}, address: address}
	c.conn = http1.NewClientConn(c.socket, cs.config)
	return c
}

// dialOwn makes a connection that begins with a PROXY header: nobody else can use it.
func (cs *connections) dialOwn(x *exchange, address string) (link, error) {
	ctx, cancel := context.WithTimeout(cs.dials, cs.pool.ConnectTimeout)
	defer cancel()
	x.waits.in(dialing(cancel))
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	x.waits.in(nil)
	if err != nil {
		return nil, err
	}
	if err := writeProxyHeader(raw, cs.pool.ProxyHeader, x.conn, cs.pool.ConnectTimeout); err != nil {
		raw.Close()
		return nil, err
	}
	cs.pool.reached(address)
	c := cs.made(raw, address)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		raw.Close()
		return nil, errCut
	}
	cs.open[c] = struct{}{}
	return c.begin(x), nil
}

// dialing is a dial that can be interrupted.
type dialing context.CancelFunc

func (d dialing) interrupt() { d() }
