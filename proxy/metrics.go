package proxy

import (
	"crypto/tls"
	"errors"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/proxy/memory"
	"sallyport/proxy/message"
)

// metrics are the server's. Label values are names from the configuration or
// members of small sets, never what a client sent: under site="" stands
// everything that no site serves.
type metrics struct {
	requests          *prometheus.CounterVec
	failures          *prometheus.CounterVec
	duration          *prometheus.HistogramVec
	handshakes        *prometheus.CounterVec
	handshakeDuration *prometheus.HistogramVec
	handshakesAgain   prometheus.Counter
	handshakesWasted  prometheus.Counter
	handshakesHeld    prometheus.Counter
	headersRefused    *prometheus.CounterVec
	connections       *prometheus.GaugeVec
	evicted           *prometheus.CounterVec
	panics            *prometheus.CounterVec
	shortages         *prometheus.CounterVec
	blames            *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, requests *counter, b *memory.Budget) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_requests_total",
			Help: "Requests that are over, tunnels included.",
		}, []string{"site", "pool", "method", "code", "protocol"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_requests_failed_total",
			Help: "Requests that no backend's whole answer was the end of, by the access log's outcome: refused, failed or left by their clients.",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sallyport_request_duration_seconds",
			Help:    "Time from a request's head to the end of its answer, without tunnels.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"site", "pool"}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_handshakes_total",
			Help: "TLS handshakes by how they ended: full, resumed or failed.",
		}, []string{"site", "version", "result"}),
		handshakeDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sallyport_handshake_duration_seconds",
			Help:    "Time from accept to the end of the TLS handshake.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"result"}),
		handshakesAgain: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_handshakes_repeated_total",
			Help: "Handshakes that were made a second time, unseen by the client, since a signature failed.",
		}),
		handshakesWasted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_handshakes_wasted_total",
			Help: "Signatures that were made for clients which then broke the handshake off, or sent no well-formed request.",
		}),
		handshakesHeld: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_handshakes_held_total",
			Help: "Full handshakes that waited a moment for their signature, since their client had failed after too many.",
		}),
		headersRefused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_proxy_headers_refused_total",
			Help: "Connections that were to begin with a PROXY header and did not, or not in time.",
		}, []string{"listener"}),
		evicted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_connections_evicted_total",
			Help: "Client connections without a request that were closed because others had no room.",
		}, []string{"listener"}),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_connections",
			Help: "Open client connections, those in their handshake included.",
		}, []string{"listener"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_panics_total",
			Help: "Mistakes of this program's that were survived, by what they have ended; the log has the stack.",
		}, []string{"in"}),
		shortages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_connections_lacking_total",
			Help: "Connections that could not be accepted, or made to a backend, since this machine ran short of descriptors, ports or memory.",
		}, []string{"in"}),
		blames: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_backend_failures_by_reason_total",
			Help: "Tries that backends of a pool failed, by why: what the parser refused, a reset, a timeout.",
		}, []string{"pool", "reason"}),
	}
	for _, place := range panicPlaces {
		m.panics.WithLabelValues(place)
	}
	for _, place := range []string{inAccept, inBackend} {
		m.shortages.WithLabelValues(place)
	}
	return m, errors.Join(
		r.Register(m.requests), r.Register(m.failures), r.Register(m.duration), r.Register(newInFlight(requests)), registerMemory(r, b),
		r.Register(m.handshakes), r.Register(m.handshakeDuration), r.Register(m.handshakesAgain), r.Register(m.handshakesWasted), r.Register(m.handshakesHeld), r.Register(m.headersRefused), r.Register(m.connections),
		r.Register(m.panics), r.Register(m.shortages), r.Register(m.blames), r.Register(m.evicted),
	)
}

func (m *metrics) handshake(s *site, state tls.ConnectionState, err error, took time.Duration) {
	result := "full"
	switch {
	case err != nil:
		result = "failed"
	case state.DidResume:
		result = "resumed"
	}
	m.handshakes.WithLabelValues(siteName(s), versionName(state.Version), result).Inc()
	m.handshakeDuration.WithLabelValues(result).Observe(took.Seconds())
}

// newInFlight reads off a counter that there is anyway.
func newInFlight(requests *counter) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_requests_in_flight",
		Help: "Requests under way, tunnels included.",
	}, func() float64 { return float64(requests.count()) })
}

// registerMemory tells of the memory that clients hold.
func registerMemory(r prometheus.Registerer, b *memory.Budget) error {
	errs := []error{
		r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sallyport_client_memory_limit_bytes",
			Help: "Memory for clients' connections, streams and bodies (limits.memory).",
		}, func() float64 { return float64(b.Limit()) })),
		r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sallyport_client_memory_used_bytes",
			Help: "How much of it clients hold.",
		}, func() float64 { return float64(b.Used()) })),
	}
	for _, kind := range memory.Kinds() {
		errs = append(errs, r.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "sallyport_client_memory_rationed_total",
			Help:        "What was done to clients that held more memory than was free.",
			ConstLabels: prometheus.Labels{"action": kind.String()},
		}, func() float64 { return float64(b.Rationed(kind)) })))
	}
	return errors.Join(errs...)
}

func (m *metrics) request(x *exchange) {
	key := seriesKey{method: methodOf(x.in.Method), protocol: protocolOf(x.in), status: uint16(x.finalStatus())}
	var of *series
	if x.route != nil {
		of = &x.route.series
	} else {
		of = &series{site: siteName(x.site)}
	}
	of.counter(m, key).Inc()
	if x.outcome != nil {
		m.failures.WithLabelValues(x.outcome.outcome).Inc()
	}
	if x.tunnel == nil {
		of.observer(m).Observe(time.Since(x.began).Seconds())
	}
}

// series are a route's, looked up once.
type series struct {
	site, pool string

	mu       sync.Mutex
	counters atomic.Pointer[map[seriesKey]prometheus.Counter] // swapped whole
	duration atomic.Pointer[prometheus.Observer]
}

type seriesKey struct {
	method   uint8
	protocol uint8
	status   uint16
}

func (s *series) counter(m *metrics, key seriesKey) prometheus.Counter {
	if known := s.counters.Load(); known != nil {
		if c := (*known)[key]; c != nil {
			return c
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	grown := map[seriesKey]prometheus.Counter{}
	if known := s.counters.Load(); known != nil {
		maps.Copy(grown, *known)
	}
	c := m.requests.WithLabelValues(s.site, s.pool, methods[key.method], strconv.Itoa(int(key.status)), protocols[key.protocol])
	grown[key] = c
	s.counters.Store(&grown)
	return c
}

func (s *series) observer(m *metrics) prometheus.Observer {
	if o := s.duration.Load(); o != nil {
		return *o
	}
	o := m.duration.WithLabelValues(s.site, s.pool)
	s.duration.Store(&o)
	return o
}

// methods are the label values of methods, "OTHER" for all that are not named.
var methods = [...]string{"OTHER", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}

func methodOf(method []byte) uint8 {
	for i, name := range methods[1:] {
		if string(method) == name {
			return uint8(i + 1)
		}
	}
	return 0
}

// protocols are the label values of protocols.
var protocols = [...]string{"1.0", "1.1", "2"}

func protocolOf(r *message.Request) uint8 {
	switch {
	case r.Major == 2:
		return 2
	case r.Minor == 0:
		return 0
	}
	return 1
}
