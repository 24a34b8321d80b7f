package proxy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	handshakeGrace = time.Second            // for handshakes under way when the drain begins
	freshGrace     = 500 * time.Millisecond // for connections that have not asked for anything
	abortGrace     = 2 * time.Second        // for requests to notice that they are cut
)

// drain lets requests under way finish and closes everything within the
// shutdown timeout. Nothing is accepted any more when it begins.
//
// Handshakes under way get a moment, since their clients have a request in
// hand. Then HTTP/2 connections get GOAWAY, HTTP/1.1 ones are closed after the
// answer. Tunnels have no end of their own: they are cut when the ordinary
// requests are done or the time is up, whichever is first.
func (s *Server) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), s.shutdownTimeout)
	defer cancel()
	began := time.Now()
	s.log.Info("draining", "requests", s.requests.count(), "timeout", s.shutdownTimeout)

	// What panics is passed over: whoever is left is cut then, and all is closed.
	s.guarded(inDrain, func() { s.waitHandshakes(ctx) })
	s.guarded(inDrain, func() { s.waitRequests(ctx) })
	tunnels, cut := 0, 0
	s.guarded(inDrain, func() { tunnels = s.tunnels.cutAll() })
	if ctx.Err() != nil {
		cut = max(s.requests.count()-tunnels, 0)
		s.cutRequests()
	}
	abort, cancel := context.WithTimeout(context.Background(), abortGrace)
	defer cancel()
	if !s.clients.wait(abort) {
		s.cutRequests()
		s.clients.wait(abort)
	}
	for _, f := range s.forwarders {
		s.guarded(inDrain, f.links.close)
	}
	s.log.Info("drained", "duration", time.Since(began), "requests_cut", cut, "tunnels_cut", tunnels)
}

// cutRequests breaks off what is under way.
func (s *Server) cutRequests() {
	s.cut.Store(true)
	for _, f := range s.forwarders {
		s.guarded(inDrain, f.links.interrupt)
	}
	for _, c := range s.clients.snapshot() {
		s.guarded(inDrain, func() { c.Close() })
	}
}

// waitRequests waits until no connection has anything but tunnels, or ctx ends.
func (s *Server) waitRequests(ctx context.Context) {
	// Said more than once: a connection may be about to wait for its next request.
	again := time.NewTicker(freshGrace / 5)
	defer again.Stop()
	for {
		for _, c := range s.clients.snapshot() {
			s.guarded(inDrain, c.Shutdown)
		}
		requests, clients := s.requests.count(), s.clients.count()
		if tunnels, conns := s.tunnels.count(); requests <= tunnels && clients <= conns {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// waitHandshakes waits for handshakes a moment, then closes those left.
func (s *Server) waitHandshakes(ctx context.Context) {
	grace, cancel := context.WithTimeout(ctx, min(handshakeGrace, s.shutdownTimeout/4))
	defer cancel()
	s.handshakes.wait(grace)
	s.cancelHandshakes()
	s.handshakes.wait(ctx)
}

// clients are the connections that are served.
type clients struct {
	mu     sync.Mutex
	all    map[client]struct{}
	opened uint64        // so far
	last   time.Time     // when
	left   chan struct{} // closed at the next removal; nil while nobody waits
}

func (cs *clients) add(c client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.all == nil {
		cs.all = map[client]struct{}{}
	}
	cs.all[c] = struct{}{}
	cs.opened++
	cs.last = time.Now()
}

// sofar is how many connections there have been, and when the last one came.
func (cs *clients) sofar() (opened uint64, last time.Time) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.opened, cs.last
}

func (cs *clients) remove(c client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.all, c)
	if cs.left != nil {
		close(cs.left)
		cs.left = nil
	}
}

func (cs *clients) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.all)
}

func (cs *clients) snapshot() []client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := make([]client, 0, len(cs.all))
	for c := range cs.all {
		all = append(all, c)
	}
	return all
}

// wait reports whether none was left before ctx ended.
func (cs *clients) wait(ctx context.Context) bool {
	for {
		cs.mu.Lock()
		if len(cs.all) == 0 {
			cs.mu.Unlock()
			return true
		}
		if cs.left == nil {
			cs.left = make(chan struct{})
		}
		left := cs.left
		cs.mu.Unlock()
		select {
		case <-left:
		case <-ctx.Done():
			return false
		}
	}
}

// counter counts what is under way and can be waited on until nothing is.
// Unlike a sync.WaitGroup it gives up with a context, and counting takes no lock.
type counter struct {
	n atomic.Int64

	mu   sync.Mutex
	zero chan struct{} // closed at zero; nil while nobody waits
}

func (c *counter) add() { c.n.Add(1) }

func (c *counter) done() {
	if c.n.Add(-1) > 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.zero != nil {
		close(c.zero)
		c.zero = nil
	}
}

func (c *counter) count() int { return int(c.n.Load()) }

// wait reports whether nothing was under way at some moment before ctx ended.
func (c *counter) wait(ctx context.Context) bool {
	c.mu.Lock()
	if c.zero == nil {
		c.zero = make(chan struct{})
	}
	zero := c.zero
	c.mu.Unlock()
	// Who gets to zero from now on closes the channel; who did before is seen here.
	if c.count() == 0 {
		return true
	}
	select {
	case <-zero:
		return true
	case <-ctx.Done():
		return false
	}
}
