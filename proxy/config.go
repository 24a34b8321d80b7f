package proxy

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/proxy/memory"
)

// CertificateSource gives a site its certificates.
type CertificateSource interface {
	// Certificate answers a handshake. Exactly one of the results is nil. The
	// certificate's PrivateKey may take its time to sign; it should give up
	// when hello.Context() ends, which it does at the handshake timeout.
	Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
}

// versionLimiter is a CertificateSource whose keys cannot sign in every version of
// TLS: RSA keys of a token without PSS sign in TLS 1.2 alone (RFC 8446 §4.2.3).
type versionLimiter interface {
	// MaxVersion returns the newest version in which a certificate can be used with
	// this client; 0 is any. crypto/tls agrees on a version before it chooses a
	// certificate, so the client would be refused in a newer one.
	MaxVersion(hello *tls.ClientHelloInfo) uint16
}

// Balancer chooses backends. It is called from many goroutines at once.
type Balancer interface {
	// Pick chooses a backend for one try of a request, never one in tried. repeatable
	// says that the request can be sent again elsewhere. ok
	// is false when none is left. Release must be called exactly once with the
	// ticket, when the try is over.
	Pick(tried []string, repeatable bool) (address string, ticket uint64, ok bool)
	// Release ends a try: the response's body ended or the try failed. err is nil
	// for a backend that did its part (also when the client left within the response),
	// context.Canceled when nothing was learnt of it, since the client left before
	// a response or the failure was ours, and otherwise says that the backend could not be reached (a
	// *net.OpError of a dial), was too slow or broke its response.
	Release(ticket uint64, err error)
}

// reached tells the balancer that a connection was made, if it wants to know.
func (p *Pool) reached(address string) {
	if r, ok := p.Balancer.(reacher); ok {
		r.Reached(address)
	}
}

// reacher is a Balancer that also wants to know at once when a connection to a
// backend was made; the release may come hours later.
type reacher interface {
	Reached(address string)
}

// responder is a Balancer that also wants to know at once when the head of a response
// has come, for the same reason.
type responder interface {
	Responded(ticket uint64)
}

// Config is everything a Server serves. Durations and sizes that are zero get
// the defaults named beside them.
type Config struct {
	Listeners       []Listener
	Sites           []Site
	ShutdownTimeout time.Duration         // 30s
	Log             *slog.Logger          // nil: off
	AccessLog       *slog.Logger          // nil: off
	Metrics         prometheus.Registerer // nil: kept nowhere
	Memory          int64                 // bytes for clients: a share of what the process may have (package memory)
}

// Listener is an open socket and how connections from it are treated.
type Listener struct {
	Name           string         // its address, for logs and metrics
	Listener       net.Listener   // TCP, already open; the server closes it
	Policy         Policy         // TLS versions and suites
	Redirect       *Redirect      // nil: it is served by TLS
	ProxyProtocol  []netip.Prefix // peers whose connections must begin with a PROXY header; it is read from no others
	TrustedProxies []netip.Prefix // peers whose forwarding fields and X-Request-ID are believed
	HideRequestID  bool           // X-Request-ID is for backends and the log, not in answers
	Timeouts       Timeouts
	MaxHeaderBytes int  // 64 KiB
	MaxFields      int  // 100 field lines of a head
	Underscores    bool // names of fields may have underscores, which some backends take for dashes
	MaxConnections int  // 10000; further ones wait in the kernel's queue
}

// Timeouts bound the waits on a client.
type Timeouts struct {
	Handshake time.Duration // 10s from the whole ClientHello to the end of the TLS handshake
	Header    time.Duration // 60s for a PROXY header and the ClientHello, and for the head of a request
	Read      time.Duration // 60s without progress of a request's body
	Write     time.Duration // 60s in which a client takes nothing of a response; not the wait for a backend
	Idle      time.Duration // 75s between requests
	Tunnel    time.Duration // 1h without a byte in a tunnel
}

// Site is a group of names that share certificates and routes. A connection
// belongs to the site of its SNI for as long as it lives.
type Site struct {
	Name         string   // for logs and metrics
	Hosts        []string // "www.example.org", "*.example.org" (one label), "192.0.2.1"
	Certificates CertificateSource
	Routes       []Route
	HSTS         *HSTS // nil: what backends say
	ErrorPages   []ErrorPage
}

// Route sends the paths under Path to a pool. "/api" is /api and /api/x, never
// /apix; "/api/" is /api/ and /api/x. The longest that matches wins.
type Route struct {
	Path           string // as syntax.RoutePath returns it
	Pool           *Pool
	Methods        []string   // that are let through, HEAD with GET; none: all but CONNECT and TRACE
	MaxBody        int64      // bytes of a request; 0: any
	RequestFields  FieldEdits // of requests to backends
	ResponseFields FieldEdits // of backends' answers, not of those that are made here
}

// Pool is a group of backends. Routes that share a *Pool share its connections.
type Pool struct {
	Name            string
	Balancer        Balancer
	Protocol        Protocol      // HTTP1
	ConnectTimeout  time.Duration // 5s
	ResponseTimeout time.Duration // 60s from the request's last byte to the answer's head
	SilenceTimeout  time.Duration // 1h without a byte within an answer
	IdleTimeout     time.Duration // 60s that an unused connection is kept
	MaxIdle         int           // 100 unused connections of HTTP/1.1 that are kept for each backend, more for a moment behind a burst; negative: none

	// ProxyHeader has each connection begin with a PROXY header of this
	// version, 1 or 2, that tells of the client; 0: none. Such a connection
	// serves one request: the next one may be another client's.
	ProxyHeader int
}

// Protocol is what a pool's backends speak, without TLS.
type Protocol uint8

// The protocols. H2C is HTTP/2 from the first byte on, which a backend must be known
// to speak (RFC 9113 §3.3).
const (
	HTTP1 Protocol = iota
	H2C
)

// withDefaults fills the zero values and reports every problem at once.
func (c Config) withDefaults() (Config, error) {
	var problems []error
	problem := func(format string, a ...any) { problems = append(problems, fmt.Errorf(format, a...)) }

	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, 30*time.Second)
	if c.Memory == 0 {
		c.Memory = memory.Default()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Memory < 0 {
		problem("a negative bound on memory")
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if len(c.Listeners) == 0 {
		problem("no listeners")
	}
	listeners := make([]Listener, len(c.Listeners))
	for i, l := range c.Listeners {
		if l.Listener == nil {
			problem("listener %q has no socket", l.Name)
		} else if l.Name == "" {
			l.Name = l.Listener.Addr().String()
		}
		if l.Policy.String() == "" {
			problem("listener %q: unknown policy %d", l.Name, l.Policy)
		}
		l.MaxHeaderBytes = cmp.Or(l.MaxHeaderBytes, 64<<10)
		l.MaxFields = cmp.Or(l.MaxFields, 100)
		l.MaxConnections = cmp.Or(l.MaxConnections, 10000)
		if l.MaxConnections < 0 || l.MaxHeaderBytes < 0 || l.MaxFields < 0 {
			problem("listener %q: a negative bound", l.Name)
		}
		if l.Redirect != nil {
			l.Redirect = l.Redirect.withDefaults()
			if err := l.Redirect.check(); err != nil {
				problem("listener %q: %w", l.Name, err)
			}
		}
		l.Timeouts = l.Timeouts.withDefaults()
		listeners[i] = l
	}
	c.Listeners = listeners
	for _, s := range c.Sites {
		if s.Certificates == nil {
			problem("site %q has no certificates", s.Name)
		}
		if len(s.Hosts) == 0 {
			problem("site %q has no hosts", s.Name)
		}
		if err := s.HSTS.check(); err != nil {
			problem("site %q: %w", s.Name, err)
		}
		for _, r := range s.Routes {
			if !strings.HasPrefix(r.Path, "/") {
				problem("site %q: route %q does not begin with a slash", s.Name, r.Path)
			}
			if err := errors.Join(r.RequestFields.check(), r.ResponseFields.check()); err != nil {
				problem("site %q: route %q: %w", s.Name, r.Path, err)
			}
			if r.MaxBody < 0 {
				problem("site %q: route %q: a negative bound", s.Name, r.Path)
			}
			if r.Pool == nil || r.Pool.Balancer == nil {
				problem("site %q: route %q has no pool", s.Name, r.Path)
			} else if v := r.Pool.ProxyHeader; v < 0 || v > 2 {
				problem("pool %q: there is no PROXY header of version %d", r.Pool.Name, v)
			} else if v > 0 && r.Pool.Protocol == H2C {
				problem("pool %q: a PROXY header cannot tell of the clients that share a connection", r.Pool.Name)
			}
		}
	}
	return c, errors.Join(problems...)
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Handshake: cmp.Or(t.Handshake, 10*time.Second),
		Header:    cmp.Or(t.Header, time.Minute),
		Read:      cmp.Or(t.Read, time.Minute),
		Write:     cmp.Or(t.Write, time.Minute),
		Idle:      cmp.Or(t.Idle, 75*time.Second),
		Tunnel:    cmp.Or(t.Tunnel, time.Hour),
	}
}

func (p Pool) withDefaults() Pool {
	p.ConnectTimeout = cmp.Or(p.ConnectTimeout, 5*time.Second)
	p.ResponseTimeout = cmp.Or(p.ResponseTimeout, time.Minute)
	p.SilenceTimeout = cmp.Or(p.SilenceTimeout, time.Hour)
	p.IdleTimeout = cmp.Or(p.IdleTimeout, time.Minute)
	p.MaxIdle = cmp.Or(p.MaxIdle, 100)
	return p
}
