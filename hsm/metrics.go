package hsm

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/hsm/wire"
)

// Metrics are what all tokens count, labelled by token.
type Metrics struct {
	registry   prometheus.Registerer
	signatures *prometheus.CounterVec
	wait       *prometheus.HistogramVec
	duration   *prometheus.HistogramVec
	refused    *prometheus.CounterVec
	starts     *prometheus.CounterVec
	wrong      *prometheus.CounterVec
}

var signatureBuckets = prometheus.ExponentialBuckets(0.0001, 2, 16) // 100 µs to 3.3 s

// NewMetrics registers the metrics of tokens.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		registry: r,
		signatures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_signatures_total",
			Help: "Signatures asked of a token, by scheme and result (ok or failed).",
		}, []string{"token", "scheme", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sallyport_signature_duration_seconds",
			Help:    "Time that a signature takes once it has a session, the way to the signer process included.",
			Buckets: signatureBuckets,
		}, []string{"token", "scheme"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sallyport_signature_wait_seconds",
			Help:    "Time that a signature waits for a session, by kind of key (ecdsa or rsa).",
			Buckets: signatureBuckets,
		}, []string{"token", "kind"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_signatures_refused_total",
			Help: "Signatures that got no session, by reason: the wait would have been too long (wait), too many waited (full), " +
				"the wait was in vain (timeout), the client hung up (left), the token was down (down), the handshake was given up (canceled).",
		}, []string{"token", "kind", "reason"}),
		wrong: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_signatures_wrong_total",
			Help: "Wrong signatures that a token gave. None of them left its signer process.",
		}, []string{"token"}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_signer_starts_total",
			Help: "Signer processes started for a token.",
		}, []string{"token"}),
	}
	r.MustRegister(m.signatures, m.wait, m.duration, m.refused, m.starts, m.wrong)
	return m
}

// tokenMetrics are one token's, looked up once.
type tokenMetrics struct {
	starts   prometheus.Counter
	wrong    prometheus.Counter
	ok       map[wire.Scheme]prometheus.Counter
	failed   map[wire.Scheme]prometheus.Counter
	duration map[wire.Scheme]prometheus.Observer
	wait     [lanes]prometheus.Observer
	refused  [lanes][reasons]prometheus.Counter
}

func (m *Metrics) token(t *Token) *tokenMetrics {
	tm := &tokenMetrics{
		starts:   m.starts.WithLabelValues(t.Name()),
		wrong:    m.wrong.WithLabelValues(t.Name()),
		ok:       make(map[wire.Scheme]prometheus.Counter),
		failed:   make(map[wire.Scheme]prometheus.Counter),
		duration: make(map[wire.Scheme]prometheus.Observer),
	}
	for _, s := range []wire.Scheme{wire.PKCS1v15, wire.PSS, wire.ECDSA} {
		tm.ok[s] = m.signatures.WithLabelValues(t.Name(), s.String(), "ok")
		tm.failed[s] = m.signatures.WithLabelValues(t.Name(), s.String(), "failed")
		tm.duration[s] = m.duration.WithLabelValues(t.Name(), s.String())
	}
	for l := range lanes {
		tm.wait[l] = m.wait.WithLabelValues(t.Name(), l.String())
		for why := range reasons {
			tm.refused[l][why] = m.refused.WithLabelValues(t.Name(), l.String(), why.String())
		}
	}
	labels := prometheus.Labels{"token": t.Name()}
	for _, s := range States {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "sallyport_token_state",
			Help:        "1 for the state that the token is in, 0 for the others.",
			ConstLabels: prometheus.Labels{"token": t.Name(), "state": s.String()},
		}, func() float64 {
			if now, _ := t.State(); now == s {
				return 1
			}
			return 0
		}))
	}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "sallyport_signatures_in_flight",
		Help:        "Signatures that wait for the token or that it is busy with.",
		ConstLabels: labels,
	}, func() float64 { return float64(t.queue.load()) }))
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "sallyport_token_processes_up",
		Help:        "Signer processes of the token that make signatures.",
		ConstLabels: labels,
	}, func() float64 { return float64(t.Status().Up) }))
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "sallyport_token_read_timestamp_seconds",
		Help:        "When the token's keys and certificates were last read; 0 before the first time.",
		ConstLabels: labels,
	}, func() float64 { return timestamp(t.Status().Read) }))
	return tm
}

// timestamp is t in Unix seconds; 0 for the zero time.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func (m *tokenMetrics) signed(s wire.Scheme, took time.Duration, err error) {
	if err != nil {
		m.failed[s].Inc()
		return
	}
	m.ok[s].Inc()
	m.duration[s].Observe(took.Seconds())
}

func (m *tokenMetrics) waited(l lane, took time.Duration, err error) {
	if err != nil {
		m.refused[l][reasonOf(err)].Inc()
		return
	}
	m.wait[l].Observe(took.Seconds())
}

// siteMetrics describe what one site serves.
type siteMetrics struct {
	notAfter *prometheus.Desc
	pairs    *prometheus.Desc
}

func newSiteMetrics(site string) siteMetrics {
	labels := prometheus.Labels{"site": site}
	return siteMetrics{
		notAfter: prometheus.NewDesc("sallyport_certificate_not_after_timestamp_seconds",
			"When the certificate in use expires, by its place among the site's certificates and the key's URI.",
			[]string{"certificate", "key"}, labels),
		pairs: prometheus.NewDesc("sallyport_site_pairs",
			"Keys with their certificates that the site can serve, fallbacks included.", nil, labels),
	}
}

// Describe implements prometheus.Collector.
func (c *Certificates) Describe(out chan<- *prometheus.Desc) {
	out <- c.metrics.notAfter
	out <- c.metrics.pairs
}

// Collect implements prometheus.Collector. It reads what is served now, so the
// series of a key that is no longer in use are gone with it.
func (c *Certificates) Collect(out chan<- prometheus.Metric) {
	pairs := 0
	for i, s := range *c.serving.Load() {
		pairs += len(s.pairs)
		p := s.pairs[0]
		out <- prometheus.MustNewConstMetric(c.metrics.notAfter, prometheus.GaugeValue, timestamp(p.Leaf().NotAfter), strconv.Itoa(i), p.Key.URI())
	}
	out <- prometheus.MustNewConstMetric(c.metrics.pairs, prometheus.GaugeValue, float64(pairs))
}
