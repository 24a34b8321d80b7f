package proxy

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the server's. Label values are names from the configuration or
// members of small sets, never what a client sent: under site="" stands
// everything that no site serves.
type metrics struct {
	requests          *prometheus.CounterVec
	duration          *prometheus.HistogramVec
	inFlight          prometheus.Gauge
	handshakes        *prometheus.CounterVec
	handshakeDuration *prometheus.HistogramVec
	handshakesAgain   prometheus.Counter
	connections       *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_requests_total",
			Help: "Requests that are over, tunnels included.",
		}, []string{"site", "pool", "method", "code", "protocol"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sallyport_request_duration_seconds",
			Help:    "Time from a request's head to the end of its answer, without tunnels.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"site", "pool"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_requests_in_flight",
			Help: "Requests under way, tunnels included.",
		}),
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
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_connections",
			Help: "Open client connections, those in their handshake included.",
		}, []string{"listener"}),
	}
	return m, errors.Join(
		r.Register(m.requests), r.Register(m.duration), r.Register(m.inFlight),
		r.Register(m.handshakes), r.Register(m.handshakeDuration), r.Register(m.handshakesAgain), r.Register(m.connections),
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

func (m *metrics) request(x *exchange) {
	site, pool := siteName(x.conn.site), x.poolName()
	m.requests.WithLabelValues(site, pool, methodLabel(x.r.Method), strconv.Itoa(x.finalStatus()), protocolLabel(x.r)).Inc()
	if x.tunnel == nil {
		m.duration.WithLabelValues(site, pool).Observe(time.Since(x.began).Seconds())
	}
}

func methodLabel(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE":
		return method
	}
	return "OTHER"
}

func protocolLabel(r *http.Request) string {
	switch {
	case r.ProtoMajor == 2:
		return "2"
	case r.ProtoMajor == 1 && r.ProtoMinor == 1:
		return "1.1"
	case r.ProtoMajor == 1 && r.ProtoMinor == 0:
		return "1.0"
	}
	return "other"
}
