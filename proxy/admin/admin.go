// Package admin serves what operators and their tools ask: /metrics for
// Prometheus, /healthz (does the process work), /readyz (may it get traffic) and
// /status (what is served, why, and until when).
//
// It speaks plain HTTP without a password, so it belongs on a loopback address.
// There it answers only requests that name a loopback host: a page in a
// browser on the same machine could otherwise read it through a name of its own
// that it points at 127.0.0.1 (DNS rebinding). Health checks that name no host are
// answered: browsers name one.
//
// On a Socket, which knows its peers, it also takes calls that change something
// (Control). A server on any other listener cannot be given them.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"sallyport/proxy/printable"
)

const (
	maxScrapes      = 4  // at once; further ones get 503
	maxConnections  = 64 // further ones wait in the kernel's queue
	scrapeTimeout   = 10 * time.Second
	shutdownTimeout = 2 * time.Second
)

// Config is what an admin server needs.
type Config struct {
	Listener net.Listener        // open; Run closes it
	Gatherer prometheus.Gatherer // nil: the default one
	Ready    func() error        // why no traffic should come; nil: always ready
	Live     func() error        // why the process should be replaced; nil: always live
	Status   func() Status       // nil: there is no /status
	Control  *Control            // nil: nothing can be changed; else Listener is a *Socket
	Log      *slog.Logger        // nil: off
}

// Server is an admin server.
type Server struct {
	listener net.Listener
	http     *http.Server
	log      *slog.Logger
}

// New returns a server for c. It starts nothing.
func New(c Config) (*Server, error) {
	if c.Listener == nil {
		return nil, errors.New("admin: no listener")
	}
	_, local := c.Listener.(*Socket)
	if c.Control != nil && !local {
		return nil, errors.New("admin: only a socket that knows its peers takes calls that change something")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Gatherer == nil {
		c.Gatherer = prometheus.DefaultGatherer
	}
	errorLog := slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{
		ErrorLog:            errorLog,
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	}))
	mux.Handle("GET /healthz", probe(c.Live))
	mux.Handle("GET /readyz", probe(c.Ready))
	if c.Status != nil {
		mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, c.Status()) })
	}
	if c.Control != nil {
		c.Control.handle(mux)
	}
	return &Server{
		listener: netutil.LimitListener(c.Listener, maxConnections),
		log:      c.Log,
		http: &http.Server{
			Handler:           guard(c.Listener.Addr(), mux),
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       5 * time.Second,
			WriteTimeout:      scrapeTimeout + 5*time.Second,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          errorLog,
		},
	}, nil
}

// Run serves until ctx ends and returns nil then.
func (s *Server) Run(ctx context.Context) error {
	serving := make(chan error, 1)
	go func() { serving <- s.http.Serve(s.listener) }()
	select {
	case err := <-serving:
		return fmt.Errorf("admin: %w", err)
	case <-ctx.Done():
	}
	// The parent is over, the shutdown has a time of its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	<-serving
	return nil
}

// probe answers 200 "ok", or 503 with the reason that check gives.
func probe(check func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		text := "ok"
		if check != nil {
			if err := check(); err != nil {
				text = printable.Text(err.Error())
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
		io.WriteString(w, text+"\n")
	})
}

// guard lets requests pass for hosts that are the listener's own, and away from
// a Socket only those that change nothing.
func guard(address net.Addr, next http.Handler) http.Handler {
	local, _ := netip.ParseAddrPort(address.String())
	_, socket := address.(*net.UnixAddr)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case local.Addr().IsLoopback() && !ownHost(r.Host, local.Addr()):
			http.Error(w, "unknown host", http.StatusMisdirectedRequest)
		case !socket && r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		default:
			w.Header().Set("X-Content-Type-Options", "nosniff")
			next.ServeHTTP(w, r)
		}
	})
}

// ownHost reports whether host, with or without a port, is a name or address of
// this machine's loopback, or empty.
func ownHost(host string, local netip.Addr) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true // RFC 6761 §6.3
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && (ip.IsLoopback() || ip == local)
}
