package proxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"sallyport/proxy/http1"
)

// backendConn is a connection to a backend that is kept between requests, and
// the link of the one that it serves.
type backendConn struct {
	*http1.Call
	conn    *http1.ClientConn
	pool    *connections
	socket  *socket
	address string
	reused  bool
	home    *kept         // where it is kept; nil until it has been
	first   *firstUse     // of a connection that was made for a request
	idle    time.Duration // when it was heard from last, since epoch
	keep    time.Duration // for how long it is kept then
}

// begin gives the connection to a request.
func (c *backendConn) begin(x *exchange) link {
	c.socket.x = x
	c.Call = c.conn.Call()
	return c
}

// interrupt implements link.
func (c *backendConn) interrupt() { c.socket.interrupt() }

// again implements link (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
func (c *backendConn) again(err error) again {
	if errors.Is(err, http1.ErrUnasked) {
		return all
	}
	if c.reused && !c.Answered() && !isTimeout(err) {
		return idempotentOnes
	}
	return none
}

// release implements link.
func (c *backendConn) release(well bool) {
	if well {
		c.pool.give(c)
	} else {
		c.pool.drop(c)
	}
}

// finish implements finisher.
func (c *backendConn) finish(x *exchange) bool {
	if !c.Over() || !x.uploaded() {
		return false
	}
	x.waits.in(nil)
	x.link = nil
	x.loan = c.conn.Lend()
	c.pool.give(c)
	return true
}

// connections are a pool's to its backends by HTTP/1.1.
type connections struct {
	pool   Pool
	config *http1.ClientConfig
	server *Server // nil in some tests

	dials   context.Context // that they run under
	stop    context.CancelFunc
	running sync.WaitGroup // dials

	mu       sync.Mutex
	backends map[string]*kept // by address
	open     map[*backendConn]struct{}
	closed   bool
}

// kept is what there is of one backend.
type kept struct {
	idle    []*backendConn // the one used last at the end
	waiting []*waiter      // requests that wait for a connection, who came first in front
	dialled *waiter        // a dial whose request went elsewhere
	firsts  firstUses
}

func newConnections(p Pool, s *Server) *connections {
	cs := &connections{
		pool: p, server: s,
		config:   http1.ClientConfig{Response: p.ResponseTimeout, Read: p.SilenceTimeout, Write: p.ResponseTimeout}.WithDefaults(),
		backends: map[string]*kept{},
		open:     map[*backendConn]struct{}{},
	}
	cs.dials, cs.stop = context.WithCancel(context.Background())
	return cs
}

// of returns what there is of a backend. The caller holds mu.
func (cs *connections) of(address string) *kept {
	b := cs.backends[address]
	if b == nil {
		b = &kept{}
		cs.backends[address] = b
	}
	return b
}

// take implements links. What a backend says unasked must not become the answer to
// whoever asks next, so each connection is looked at before anything is sent: by the call,
// or here where a body streams, since that request cannot be made again.
func (cs *connections) take(x *exchange, address string) link {
	for {
		c := cs.pop(address)
		if c == nil {
			return nil
		}
		if c.reused = true; x.asked-c.idle < c.keep && c.mayServe(x) {
			return c.begin(x)
		}
		cs.drop(c)
	}
}

// mayServe looks at a connection that others have used before, where the call does not.
func (c *backendConn) mayServe(x *exchange) bool {
	return !c.reused || x.upload.kind != uploadStream || c.conn.Alive()
}

func (cs *connections) pop(address string) *backendConn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	b := cs.of(address)
	if len(b.idle) == 0 {
		return nil
	}
	last := len(b.idle) - 1
	c := b.idle[last]
	b.idle[last] = nil
	b.idle = b.idle[:last]
	return c
}

// give has a connection serve a request that waits for one, or keeps it for the next
// request, if it is good for that. One that has told of a client is not; an upload
// that still goes on has it closed, and so has an interruption that came too late.
func (cs *connections) give(c *backendConn) {
	if cs.pool.ProxyHeader != 0 || c.socket.x.upload.running || c.socket.interrupted.Load() || !c.conn.Release() {
		cs.drop(c)
		return
	}
	c.socket.x = nil
	c.idle, c.keep = c.socket.heard, cs.pool.IdleTimeout
	if told := c.conn.KeepAlive(); told != 0 {
		c.keep = min(c.keep, told)
	}
	if c.keep > 0 && cs.keep(c) {
		return
	}
	cs.drop(c)
}

// keep reports whether it keeps a connection.
func (cs *connections) keep(c *backendConn) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	b := c.home
	if b == nil {
		b = cs.of(c.address)
		c.home = b
	}
	if c.first != nil {
		b.firsts.over(c)
	}
	switch {
	case cs.closed:
		return false
	case len(b.waiting) > 0:
		c.reused = true
		b.serve(c)
		return true
	case !cs.hasRoom(b) || b.firsts.starve():
		return false
	}
	b.idle = append(b.idle, c)
	if len(b.firsts.waiting) > 0 {
		b.firsts.watch(cs, starvesAfter, c.address)
	}
	return true
}

// More connections than MaxIdle are kept where more have just been used at once: a load that
// keeps on would make new ones all the time. They go when they have not been used for
// surplusKeep, at the next sweep.
const (
	maxSurplus  = 1024
	surplusKeep = time.Second
)

// hasRoom reports whether one more idle connection may be kept. The caller holds mu.
func (cs *connections) hasRoom(b *kept) bool {
	return cs.pool.MaxIdle > 0 && len(b.idle) < max(cs.pool.MaxIdle, maxSurplus)
}

// drop closes a connection.
func (cs *connections) drop(c *backendConn) {
	cs.mu.Lock()
	delete(cs.open, c)
	if c.first != nil {
		cs.of(c.address).firsts.over(c)
	}
	cs.mu.Unlock()
	c.conn.Close()
}

// probe implements links. The connection is closed: what may be kept depends on requests.
func (cs *connections) probe(ctx context.Context, address string) error {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return raw.Close()
}

// sweep implements links. Those that were used last are at the end, so the surplus is in front.
func (cs *connections) sweep(now time.Time) {
	cs.closeIdle(func(c *backendConn, surplus int) bool {
		idle := now.Sub(epoch) - c.idle
		return idle >= c.keep || surplus > 0 && idle >= surplusKeep
	})
}

// closeIdle closes idle connections. which is told how many more than MaxIdle there are.
func (cs *connections) closeIdle(which func(c *backendConn, surplus int) bool) {
	cs.mu.Lock()
	var old []*backendConn
	for _, b := range cs.backends {
		surplus := len(b.idle) - cs.pool.MaxIdle
		b.idle = slices.DeleteFunc(b.idle, func(c *backendConn) bool {
			if !which(c, surplus) {
				return false
			}
			old = append(old, c)
			surplus--
			return true
		})
	}
	cs.mu.Unlock()
	for _, c := range old {
		cs.drop(c)
	}
}

// interrupt implements links.
func (cs *connections) interrupt() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	cs.stop()
	for c := range cs.open {
		c.socket.interrupt()
	}
}

// close implements links.
func (cs *connections) close() {
	cs.mu.Lock()
	cs.closed = true
	cs.stop()
	for _, b := range cs.backends {
		b.firsts.end()
	}
	cs.mu.Unlock()
	cs.closeIdle(func(*backendConn, int) bool { return true })
	cs.running.Wait()
}
