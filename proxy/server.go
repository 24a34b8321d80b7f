package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server terminates TLS on its listeners and forwards requests.
type Server struct {
	log             *slog.Logger
	accessLog       *slog.Logger
	metrics         *metrics
	shutdownTimeout time.Duration
	sites           *siteTable
	listeners       []*listener
	forwarders      []*forwarder

	// What a handshake and a request run under. The first ends when the
	// server no longer waits for handshakes, the second at the deadline.
	handshakeCtx     context.Context
	cancelHandshakes context.CancelFunc
	requestCtx       context.Context
	cancelRequests   context.CancelCauseFunc

	started    atomic.Bool
	handshakes counter
	requests   counter // tunnels included
	tunnels    tunnels
}

// New checks c whole and returns a server for it. It starts nothing; the
// listeners stay the caller's until Run.
func New(c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	s := &Server{log: c.Log, accessLog: c.AccessLog, shutdownTimeout: c.ShutdownTimeout}
	s.handshakeCtx, s.cancelHandshakes = context.WithCancel(context.Background())
	s.requestCtx, s.cancelRequests = context.WithCancelCause(context.Background())
	if s.sites, err = newSiteTable(c.Sites, s.routesOf()); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if s.metrics, err = newMetrics(c.Metrics); err != nil {
		return nil, fmt.Errorf("proxy: metrics: %w", err)
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
		var all []route
		for _, r := range cfg.Routes {
			f := known[r.Pool]
			if f == nil {
				f = newForwarder(*r.Pool, s.requestCtx, s.log)
				known[r.Pool] = f
				s.forwarders = append(s.forwarders, f)
			}
			all = append(all, route{path: r.Path, pool: f})
		}
		return newRoutes(all)
	}
}

func (s *Server) newListener(cfg Listener) *listener {
	l := &listener{Listener: cfg, server: s, slots: make(chan struct{}, cfg.MaxConnections)}
	l.handoff = newHandoff(cfg.Listener.Addr())
	// The outer configuration must not make or open tickets of its own: see
	// ticketKeys.
	l.tls = cfg.Policy.refusal()
	l.tls.GetConfigForClient = s.sites.configFor(cfg.Policy)
	l.http = &http.Server{
		Handler:           handler{l},
		ReadHeaderTimeout: cfg.Timeouts.Header,
		IdleTimeout:       cfg.Timeouts.Idle,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          128,
			MaxDecoderHeaderTableSize:     4096,
			MaxEncoderHeaderTableSize:     4096,
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               cfg.Timeouts.Read,
			PingTimeout:                   cfg.Timeouts.Write,
			WriteByteTimeout:              cfg.Timeouts.Write,
		},
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:                  func(net.Listener) context.Context { return s.requestCtx },
		ConnContext:                  withConn,
		ConnState:                    l.fresh.note,
		DisableGeneralOptionsHandler: true, // OPTIONS * is for the backend
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

	var accepting, serving sync.WaitGroup
	for _, l := range s.listeners {
		accepting.Go(func() {
			if err := l.accept(ctx); err != nil {
				stop(err)
			}
		})
		serving.Go(func() {
			if err := l.http.Serve(l.handoff); !errors.Is(err, http.ErrServerClosed) {
				stop(fmt.Errorf("proxy: listener %s: %w", l.Name, err))
			}
		})
	}
	serving.Go(func() { rotateTickets(ctx, ticketRotation, s.sites.tickets) })

	<-ctx.Done()
	for _, l := range s.listeners {
		l.Listener.Listener.Close()
	}
	accepting.Wait()
	s.drain()
	serving.Wait()

	// The parent's end is a clean stop; anything else was given to stop.
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}
