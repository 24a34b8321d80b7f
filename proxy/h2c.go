package proxy

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/proxy/http2"
)

// sharedConns are a pool's connections to its backends by HTTP/2 without TLS.
// Each takes as many requests at once as its backend allows; a further one is made
// when none has room, or when those that have are saturated, one at a time for each address.
type sharedConns struct {
	pool   Pool
	server *Server
	config http2.Config

	dials   context.Context // that they run under
	stop    context.CancelFunc
	running sync.WaitGroup // dials, and connections

	waiting atomic.Int32 // requests in all queues

	mu       sync.Mutex
	backends map[string]*sharing // by address
	closed   bool
}

// sharing is what there is of one backend.
type sharing struct {
	conns []*http2.ClientConn
	dial  *dial  // that is under way
	queue []wake // of requests that wait, for the dial or for a stream that ends
}

// dial is one that any number of requests wait for.
type dial struct {
	done chan struct{}
	err  error // once done is closed

	// Guarded by the pool's mu: a request that went elsewhere has left its ticket.
	left   bool
	ticket uint64
}

// pingEvery is how long a backend may be silent during a call before it is asked
// whether it is alive. gRPC servers end connections whose clients ask more often
// than once in five minutes.
const pingEvery = 6 * time.Minute

func newSharedConns(p Pool, s *Server) *sharedConns {
	cs := &sharedConns{
		pool: p, server: s,
		config: http2.Config{
			MaxHeaderBytes: 256 << 10, MaxFields: 200, // as of HTTP/1.1
			Write: p.ResponseTimeout, Idle: p.IdleTimeout, Ping: pingEvery,
			Look:     p.look(),
			Panicked: func(value any) { s.panicked(inBackend, value) },
		},
		backends: map[string]*sharing{},
	}
	cs.dials, cs.stop = context.WithCancel(context.Background())
	return cs
}

// take implements links.
func (cs *sharedConns) take(x *exchange, address string) link {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.sharing(address).queue) > 0 {
		return nil // they have waited longer
	}
	if s := cs.find(x, address, false); s != nil {
		return s
	}
	return nil
}

// maxUnsaturated is how many connections a backend has before one that is saturated takes
// further requests. It counts streams that a backend does not read, one for each
// connection at worst.
const maxUnsaturated = 8

func (cs *sharedConns) sharing(address string) *sharing {
	b := cs.backends[address]
	if b == nil {
		b = &sharing{}
		cs.backends[address] = b
	}
	return b
}

// find takes a stream of the first connection that has room. One that is saturated is
// taken where there shall not be more, and with any where there cannot. mu is held.
func (cs *sharedConns) find(x *exchange, address string, any bool) *stream {
	b := cs.sharing(address)
	var saturated *http2.ClientConn
	for _, c := range b.conns {
		if c.Saturated(x.upload.kind != uploadNone) {
			if saturated == nil && c.CanTakeCall() {
				saturated = c
			}
			continue
		}
		if s := cs.call(x, c, address); s != nil {
			return s
		}
	}
	if saturated != nil && (any || len(b.conns) >= maxUnsaturated) {
		return cs.call(x, saturated, address)
	}
	return nil
}

func (cs *sharedConns) call(x *exchange, c *http2.ClientConn, address string) *stream {
	call, err := c.NewCall()
	if err != nil {
		return nil
	}
	call.ChargeTo(x.conn.held.by)
	return &stream{Call: call, conn: c, of: cs, address: address, x: x}
}

// dial implements links. A dial whose requests have left goes on for the next ones. Each is
// bounded by the connect timeout; a request that others were before may wait for several,
// or for streams that end, as long as for a response.
func (cs *sharedConns) dial(x *exchange, address string, other func() bool) (link, error) {
	late := time.NewTimer(max(cs.pool.ConnectTimeout, cs.pool.ResponseTimeout))
	defer late.Stop()
	patience := time.NewTicker(cs.pool.patience())
	defer patience.Stop()
	woken, room := make(wake, 1), make(wake, 1)
	x.waits.in(woken)
	defer x.waits.in(nil)
	defer cs.leave(address, room)
	for waited := false; ; waited = true {
		s, d := cs.findOrDial(x, address, room, waited)
		switch {
		case s != nil:
			return s, nil
		case d == nil:
			return nil, errCut
		}
		select {
		case <-room:
		case <-d.done:
			if d.err != nil {
				if s := cs.findAny(x, address); s != nil {
					return s, nil
				}
				return nil, d.err
			}
		case <-woken:
			return nil, context.Canceled
		case <-late.C:
			return nil, dialError(os.ErrDeadlineExceeded)
		case <-patience.C:
			if cs.unconnected(address) && other() {
				x.handed = cs.hand(d, x.ticket)
				return nil, errMoved
			}
		}
	}
}

// unconnected reports whether there is no connection to a backend, be it a full one.
func (cs *sharedConns) unconnected(address string) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.sharing(address).conns) == 0
}

// hand leaves a request's ticket to its dial, which tells the balancer what became of it.
// It reports false where the dial is over, or has one already.
func (cs *sharedConns) hand(d *dial, ticket uint64) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	select {
	case <-d.done:
		return false
	default:
	}
	if d.left {
		return false
	}
	d.left, d.ticket = true, ticket
	return true
}

// probe implements links. The connection is shared with requests.
func (cs *sharedConns) probe(ctx context.Context, address string) error {
	cs.mu.Lock()
	d := cs.beginDial(address)
	cs.mu.Unlock()
	if d == nil {
		return context.Canceled
	}
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return dialError(ctx.Err())
	}
}

// beginDial returns the dial that is under way, or begins one; nil where no connections are
// made any more. The caller holds mu.
func (cs *sharedConns) beginDial(address string) *dial {
	b := cs.sharing(address)
	if b.dial == nil && !cs.closed {
		d := &dial{done: make(chan struct{})}
		b.dial = d
		cs.running.Go(func() { cs.connect(address, d) })
	}
	return b.dial
}

// wake is a wait in a select that can be interrupted.
type wake chan struct{}

func (w wake) interrupt() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// findOrDial returns a stream, or a dial to wait for, or neither where no
// connections are made any more. A request that has not waited takes none before others
// that have.
func (cs *sharedConns) findOrDial(x *exchange, address string, room wake, waited bool) (*stream, *dial) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	b := cs.sharing(address)
	if waited || len(b.queue) == 0 {
		if s := cs.find(x, address, false); s != nil {
			return s, nil
		}
	}
	if cs.closed {
		return nil, nil
	}
	if !slices.Contains(b.queue, room) {
		b.queue = append(b.queue, room)
		cs.waiting.Add(1)
	}
	return nil, cs.beginDial(address)
}

// freed wakes the request that has waited longest: a stream has ended.
func (cs *sharedConns) freed(address string) {
	if cs.waiting.Load() == 0 {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if b := cs.sharing(address); len(b.queue) > 0 {
		b.queue[0].interrupt()
		b.queue = append(b.queue[:0], b.queue[1:]...)
		cs.waiting.Add(-1)
	}
}

// leave ends a request's wait. A stream that has ended for it meanwhile is the next one's.
func (cs *sharedConns) leave(address string, room wake) {
	cs.mu.Lock()
	b := cs.sharing(address)
	if i := slices.Index(b.queue, room); i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
		cs.waiting.Add(-1)
	}
	cs.mu.Unlock()
	select {
	case <-room:
		cs.freed(address)
	default:
	}
}

// findAny returns a stream of whatever connection has room, or nil.
func (cs *sharedConns) findAny(x *exchange, address string) *stream {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.find(x, address, true)
}

// connect makes a connection and shares it.
func (cs *sharedConns) connect(address string, d *dial) {
	ctx, cancel := context.WithTimeout(cs.dials, cs.pool.ConnectTimeout)
	defer cancel()
	c, err := cs.openReached(ctx, address)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	b := cs.sharing(address)
	if b.dial, d.err = nil, err; err == nil && c.Alive() { // else it was forgotten already
		b.conns = append(b.conns, c)
	}
	close(d.done)
	if !d.left {
		return
	}
	if err == nil || cs.dials.Err() != nil || isShortage(err) {
		err = context.Canceled // nothing was learnt that was not told already
	}
	cs.pool.Balancer.Release(d.ticket, err)
}

// openReached is open, of which a panic is an error too, and tells the balancer.
func (cs *sharedConns) openReached(ctx context.Context, address string) (c *http2.ClientConn, err error) {
	defer cs.server.caught(inBackend, func() {
		if c != nil {
			c.Close()
		}
		c, err = nil, dialError(errPanicked)
	})
	if c, err = cs.open(ctx, address); err == nil {
		cs.pool.reached(address)
	}
	return c, err
}

// open dials, and waits for the backend to prove that it speaks HTTP/2 and takes calls.
func (cs *sharedConns) open(ctx context.Context, address string) (*http2.ClientConn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := http2.NewClientConn(newTCPConn(raw), cs.config)
	cs.running.Go(func() {
		defer cs.forget(address, c)
		defer cs.server.caught(inBackend, c.Close)
		_ = c.Run() // its calls say what was wrong
	})
	stop := context.AfterFunc(ctx, c.Close)
	defer stop()
	err = c.Settled()
	switch {
	case ctx.Err() != nil:
		return nil, dialError(os.ErrDeadlineExceeded)
	case err == nil && c.CanTakeCall():
		return c, nil
	case err == nil:
		err = http2.ErrNoRoom
	}
	c.Close()
	return nil, dialError(fmt.Errorf("it takes no calls by HTTP/2 without TLS: %w", err))
}

// dialError is what a Balancer takes for a backend that cannot be reached.
func dialError(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }

// forget takes a connection out that has ended.
func (cs *sharedConns) forget(address string, c *http2.ClientConn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	b := cs.sharing(address)
	b.conns = slices.DeleteFunc(b.conns, func(other *http2.ClientConn) bool { return other == c })
}

// sweep implements links: connections know themselves how long they are idle.
func (cs *sharedConns) sweep(time.Time) {}

// interrupt implements links.
func (cs *sharedConns) interrupt() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	cs.stop()
	for _, b := range cs.backends {
		for _, c := range b.conns {
			c.Close()
		}
	}
}

// close implements links. Nobody has a call any more.
func (cs *sharedConns) close() {
	cs.interrupt()
	cs.running.Wait()
}
