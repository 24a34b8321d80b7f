package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"sallyport/proxy/http1"
)

// backendConn is a connection to a backend that is kept between requests, and
// the link of the one that it serves.
type backendConn struct {
	*http1.Call
	conn    *http1.ClientConn
	of      *connections
	socket  *socket
	address string
	reused  bool
	idle    time.Duration // when it was heard from last, since epoch
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
		c.of.give(c)
	} else {
		c.of.drop(c)
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
	c.of.give(c)
	return true
}

// maxIdle is how many connections are kept for each backend: less than a burst of
// streams would make new ones all the time.
const maxIdle = 1024

// connections are a pool's to its backends by HTTP/1.1.
type connections struct {
	pool   Pool
	config *http1.ClientConfig

	mu     sync.Mutex
	idle   map[string][]*backendConn // by address, the one used last at the end
	open   map[*backendConn]struct{}
	closed bool
}

func newConnections(p Pool) *connections {
	return &connections{
		pool:   p,
		config: http1.ClientConfig{Response: p.ResponseTimeout, Read: p.SilenceTimeout, Write: p.ResponseTimeout}.WithDefaults(),
		idle:   map[string][]*backendConn{},
		open:   map[*backendConn]struct{}{},
	}
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
		if x.asked-c.idle < cs.pool.IdleTimeout && (x.upload.kind != uploadStream || c.conn.Alive()) {
			c.reused = true
			return c.begin(x)
		}
		cs.drop(c)
	}
}

func (cs *connections) pop(address string) *backendConn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	list := cs.idle[address]
	if len(list) == 0 {
		return nil
	}
	c := list[len(list)-1]
	list[len(list)-1] = nil
	cs.idle[address] = list[:len(list)-1]
	return c
}

// give keeps a connection for the next request, if it is good for that. One that has
// told of a client is not; an upload that still goes on has it closed, and so has an
// interruption that came too late.
func (cs *connections) give(c *backendConn) {
	if cs.pool.ProxyHeader != 0 || c.socket.x.upload.running || c.socket.interrupted.Load() || !c.conn.Release() {
		cs.drop(c)
		return
	}
	c.socket.x = nil
	c.idle = c.socket.heard
	cs.mu.Lock()
	list := cs.idle[c.address]
	if !cs.closed && len(list) < maxIdle {
		cs.idle[c.address] = append(list, c)
		cs.mu.Unlock()
		return
	}
	cs.mu.Unlock()
	cs.drop(c)
}

// drop closes a connection.
func (cs *connections) drop(c *backendConn) {
	cs.mu.Lock()
	delete(cs.open, c)
	cs.mu.Unlock()
	c.conn.Close()
}

// dial implements links.
func (cs *connections) dial(x *exchange, address string) (link, error) {
	ctx, cancel := context.WithTimeout(context.Background(), cs.pool.ConnectTimeout)
	defer cancel()
	x.waits.in(dialing(cancel))
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	x.waits.in(nil)
	if err != nil {
		return nil, err
	}
	if cs.pool.ProxyHeader != 0 {
		if err := writeProxyHeader(raw, cs.pool.ProxyHeader, x.conn, cs.pool.ConnectTimeout); err != nil {
			raw.Close()
			return nil, err
		}
	}
	cs.pool.reached(address)
	t := newTCPConn(raw).(*tcpConn)
	c := &backendConn{of: cs, socket: &socket{Conn: t, tcp: t}, address: address}
	c.conn = http1.NewClientConn(c.socket, cs.config)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		raw.Close()
		return nil, errCut
	}
	cs.open[c] = struct{}{}
	return c.begin(x), nil
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

// dialing is a dial that can be interrupted.
type dialing context.CancelFunc

func (d dialing) interrupt() { d() }

// sweep implements links.
func (cs *connections) sweep(now time.Time) {
	for _, c := range cs.takeOld(now) {
		cs.drop(c)
	}
}

// takeOld takes out the connections that have been idle for too long.
func (cs *connections) takeOld(now time.Time) (old []*backendConn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for address, list := range cs.idle {
		n := 0
		for n < len(list) && now.Sub(epoch)-list[n].idle >= cs.pool.IdleTimeout {
			n++
		}
		old = append(old, list[:n]...)
		cs.idle[address] = append(list[:0], list[n:]...)
		clear(list[len(list)-n:])
	}
	return old
}

// interrupt implements links.
func (cs *connections) interrupt() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	for c := range cs.open {
		c.socket.interrupt()
	}
}

// close implements links.
func (cs *connections) close() {
	cs.mu.Lock()
	cs.closed = true
	var idle []*backendConn
	for _, list := range cs.idle {
		idle = append(idle, list...)
	}
	clear(cs.idle)
	cs.mu.Unlock()
	for _, c := range idle {
		cs.drop(c)
	}
}
