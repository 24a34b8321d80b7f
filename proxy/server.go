package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/proxy/http1"
	"sallyport/proxy/http2"
	"sallyport/proxy/memory"
)

// Server terminates TLS on its listeners and forwards requests.
type Server struct {
	log             *slog.Logger
	accessLog       *slog.Logger
	metrics         *metrics
	shutdownTimeout time.Duration
	memory          *memory.Budget
	via             viaValues
	sites           *siteTable
	listeners       []*listener
	forwarders      []*forwarder

	// What a handshake runs under, until the server no longer waits for any.
	handshakeCtx     context.Context
	cancelHandshakes context.CancelFunc

	started    atomic.Bool
	cut        atomic.Bool // the deadline of the shutdown has passed
	handshakes counter
	clients    clients
	requests   counter // tunnels included
	tunnels    tunnels
	wasted     wasted
	computing  computing
	departures departures
}

// New checks c whole and returns a server for it. It starts nothing; the
// listeners stay the caller's until Run.
func New(c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	s := &Server{
		log: c.Log, accessLog: c.AccessLog, shutdownTimeout: c.ShutdownTimeout,
		via: newViaValues(), memory: memory.NewBudget(c.Memory), computing: newComputing(),
	}
	s.handshakeCtx, s.cancelHandshakes = context.WithCancel(context.Background())
	if s.metrics, err = newMetrics(c.Metrics, &s.requests, s.memory); err != nil {
		return nil, fmt.Errorf("proxy: metrics: %w", err)
	}
	if s.sites, err = newSiteTable(c.Sites, s.routesOf()); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	for _, l := range c.Listeners {
		s.listeners = append(s.listeners, s.newListener(l))
	}
	return s, nil
}

// routesOf returns a function that makes a site's routes, with one forwarder
// for each pool however many routes lead to it.
func (s *Server) routesOf() func(Site) (*routes, error) {
	known := map[*Pool]*forwarder{}
	return func(cfg Site) (*routes, error) {
		var all []*route
		for _, r := range cfg.Routes {
			f := known[r.Pool]
			if f == nil {
				f = newForwarder(*r.Pool, s)
				known[r.Pool] = f
				s.forwarders = append(s.forwarders, f)
			}
			all = append(all, newRoute(r, f, cfg.Name))
		}
		return newRoutes(all)
	}
}

func (s *Server) newListener(cfg Listener) *listener {
	l := &listener{Listener: cfg, server: s, slots: make(chan struct{}, cfg.MaxConnections)}
	// The outer configuration must not make or open tickets of its own: see
	// ticketKeys.
	l.tls = cfg.Policy.refusal()
	l.tls.GetConfigForClient = s.computing.inTurn(s.sites.configFor(cfg.Policy))
	t := cfg.Timeouts
	l.http1 = http1.Config{
		Secure:  cfg.Redirect == nil,
		MaxHead: cfg.MaxHeaderBytes, MaxFields: cfg.MaxFields, Underscores: cfg.Underscores,
		Header: t.Header, Read: t.Read, Write: t.Write, Idle: t.Idle,
	}.WithDefaults()
	l.http2 = http2.Config{
		Panicked: func(value any) { s.panicked(inConnection, value) },
		Secure:   true, MaxHeaderBytes: cfg.MaxHeaderBytes, MaxFields: cfg.MaxFields, Underscores: cfg.Underscores,
		Header: t.Header, Read: t.Read, Write: t.Write, Idle: t.Idle,
	}
	return l
}

// Run serves until ctx ends, then drains within the shutdown timeout. It
// returns nil after a clean stop, also when requests had to be cut, and an
// error when a socket failed while it was needed. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("proxy: the server was already run")
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	var accepting, helping sync.WaitGroup
	for _, l := range s.listeners {
		accepting.Go(func() {
			if err := l.accept(ctx); err != nil {
				stop(err)
			}
		})
	}
	helping.Go(func() { s.rotateTickets(ctx, ticketRotation) })
	helping.Go(func() { s.sweep(ctx) })
	if err := s.departures.open(); err != nil {
		s.log.Warn("clients that leave are looked for", "error", err)
	}
	helping.Go(func() { s.departures.run(s) })
	for _, f := range s.forwarders {
		helping.Go(func() { f.probe(ctx) })
	}

	<-ctx.Done()
	for _, l := range s.listeners {
		s.guarded(inDrain, func() { l.Listener.Listener.Close() })
	}
	accepting.Wait()
	s.drain()
	s.departures.close()
	helping.Wait()

	// The parent's end is a clean stop; anything else was given to stop.
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// sweep closes connections to backends that have been idle for too long, and those of
// clients for which memory is short, and gives
// memory back.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	var t tidy
	var m scarce
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, f := range s.forwarders {
				s.guarded(inSweep, func() { f.links.sweep(now) })
			}
			s.guarded(inSweep, func() { m.look(s) })
			s.guarded(inSweep, func() { t.look(s.clients.sofar()) })
			s.guarded(inSweep, func() { s.wasted.sweep(now) })
		}
	}
}
