package proxy

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	handshakeGrace = time.Second            // for handshakes under way when the drain begins
	freshGrace     = 500 * time.Millisecond // for connections that have not asked for anything
	abortGrace     = 2 * time.Second        // for handlers to notice that their connection is closed
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

	for _, l := range s.listeners {
		l.http.SetKeepAlivesEnabled(false)
	}
	s.waitHandshakes(ctx)

	s.shutdown(ctx)

	pending := s.requests.count()
	tunnels := s.tunnels.cutAll()
	cut := 0
	if ctx.Err() != nil || !s.requests.wait(ctx) {
		cut = max(pending-tunnels, 0)
		s.cancelRequests(errCut)
		for _, l := range s.listeners {
			l.http.Close()
		}
		abort, cancel := context.WithTimeout(context.Background(), abortGrace)
		defer cancel()
		s.requests.wait(abort)
	}
	s.cancelRequests(errCut)
	for _, f := range s.forwarders {
		f.transport.CloseIdleConnections()
	}
	s.log.Info("drained", "duration", time.Since(began), "requests_cut", cut, "tunnels_cut", tunnels)
}

// shutdown waits until no ordinary request is under way or ctx ends.
func (s *Server) shutdown(ctx context.Context) {
	var shutting sync.WaitGroup
	for _, l := range s.listeners {
		shutting.Go(func() { l.http.Shutdown(ctx) })
	}
	down := make(chan struct{})
	go func() { shutting.Wait(); close(down) }()

	// Said more than once: a connection whose goroutine has only just started
	// may still put net/http's own deadline in the place of ours.
	deadline := time.Now().Add(freshGrace)
	again := time.NewTicker(freshGrace / 5)
	defer again.Stop()
	for {
		for _, l := range s.listeners {
			l.fresh.hurry(deadline)
		}
		select {
		case <-down:
			return
		case <-again.C:
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

// counter counts what is under way and can be waited on until nothing is.
// Unlike a sync.WaitGroup it gives up with a context.
type counter struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // closed at zero; nil while nobody waits
}

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *counter) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.n == 0 && c.zero != nil {
		close(c.zero)
		c.zero = nil
	}
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// wait reports whether nothing was under way at some moment before ctx ended.
func (c *counter) wait(ctx context.Context) bool {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return true
	}
	if c.zero == nil {
		c.zero = make(chan struct{})
	}
	zero := c.zero
	c.mu.Unlock()
	select {
	case <-zero:
		return true
	case <-ctx.Done():
		return false
	}
}

// freshConns are the connections that have not sent a request yet. http.Server
// takes them for busy until they are five seconds old; a drain need not wait
// that long.
type freshConns struct {
	mu      sync.Mutex
	all     map[net.Conn]struct{}
	hurried bool
}

// note is an http.Server's ConnState.
func (f *freshConns) note(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if state != http.StateNew {
		if _, fresh := f.all[c]; fresh && f.hurried {
			c.SetReadDeadline(time.Time{}) // it made it; the deadline must not hit its request
		}
		delete(f.all, c)
		return
	}
	if f.all == nil {
		f.all = map[net.Conn]struct{}{}
	}
	f.all[c] = struct{}{}
}

// hurry lets them wait for a request until deadline only.
func (f *freshConns) hurry(deadline time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hurried = true
	for c := range f.all {
		c.SetReadDeadline(deadline)
	}
}
