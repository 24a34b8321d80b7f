package proxy

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// openConns are a listener's open connections. When there are as many as it may have and
// one more comes, those that have waited longest for their client, to say something or to read,
// are closed in its favour: clients have the time that slow lines need as long as there is room, and
// who only holds connections holds them no longer than others leave him.
type openConns struct {
	mu  sync.Mutex
	all map[*conn]struct{}
}

func (o *openConns) add(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[*conn]struct{}{}
	}
	o.all[c] = struct{}{}
}

func (o *openConns) remove(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, c)
}

func (o *openConns) snapshot() []*conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]*conn, 0, len(o.all))
	for c := range o.all {
		all = append(all, c)
	}
	return all
}

const (
	// leastWait is how long a connection has waited at least that is closed for another.
	leastWait = 3 * time.Second
	// roomShare is the part of the connections that is closed at a time, since all are
	// looked at.
	roomShare = 64
	// roomEvery is how often they are, while none is closed otherwise.
	roomEvery = 500 * time.Millisecond
)

// takeSlot waits until there is room for one more connection, and makes it where it can. It
// is false where ctx has ended.
func (l *listener) takeSlot(ctx context.Context) bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	again := time.NewTicker(roomEvery)
	defer again.Stop()
	for {
		l.makeRoom()
		select {
		case l.slots <- struct{}{}:
			return true
		case <-ctx.Done():
			return false
		case <-again.C:
		}
	}
}

// makeRoom closes some of the connections that have waited longest for their clients.
func (l *listener) makeRoom() {
	defer l.server.caught(inAccept, func() {})
	type waiter struct {
		conn   *conn
		waited time.Duration
	}
	var waiters []waiter
	all := l.open.snapshot()
	for _, c := range all {
		if d := c.waited(); d >= leastWait {
			waiters = append(waiters, waiter{c, d})
		}
	}
	slices.SortFunc(waiters, func(a, b waiter) int { return cmp.Compare(b.waited, a.waited) })
	waiters = waiters[:min(len(waiters), max(1, len(all)/roomShare))]
	for _, w := range waiters {
		l.server.metrics.evicted.WithLabelValues(l.Name).Inc()
		w.conn.evict()
	}
}

// waited is how long the connection has waited for its client to say what it wants, or to read
// what it has got; 0: it does not. A handshake's signature is not the client's to make.
func (c *conn) waited() time.Duration {
	waited := c.unread()
	if wait := c.waiting.Load(); wait != nil {
		waited = max(waited, (*wait)())
	}
	return waited
}

// unread is how long a write on the connection has waited for its client to read; 0: not for long.
func (c *conn) unread() time.Duration {
	if t, ok := c.socket.(*tcpConn); ok {
		return t.stalledFor()
	}
	return 0
}

// evict closes the connection in favour of another.
func (c *conn) evict() {
	c.socket.Close()
	c.once.Do(c.closed)
}

// waitsForHello has the connection wait for its client's first words from now on.
func (c *conn) waitsForHello() {
	began := time.Now()
	wait := func() time.Duration { return time.Since(began) }
	c.waiting.Store(&wait)
}

// servedBy tells who knows from now on how long the connection waits; nil: nobody.
func (c *conn) servedBy(wait func() time.Duration) {
	if wait == nil {
		c.waiting.Store(nil)
		return
	}
	c.waiting.Store(&wait)
}
