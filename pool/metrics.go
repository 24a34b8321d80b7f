package pool

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of all pools that share a registerer, told apart by their
// labels, which are names from the configuration.
type metrics struct {
	up       *prometheus.GaugeVec
	failures *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	labels := []string{"pool", "backend"}
	m := &metrics{
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_backend_up",
			Help: "1 while the backend takes its turn, 0 while it is passed over.",
		}, labels),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_backend_failures_total",
			Help: "Tries that the backend failed: not reached, too slow, or a broken answer.",
		}, labels),
	}
	if r == nil {
		return m, nil
	}
	var err error
	if m.up, err = shared(r, m.up); err != nil {
		return nil, err
	}
	m.failures, err = shared(r, m.failures)
	return m, err
}

// shared registers c, or returns the one that an earlier pool registered.
func shared[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	err := r.Register(c)
	var twice prometheus.AlreadyRegisteredError
	if errors.As(err, &twice) {
		if earlier, ok := twice.ExistingCollector.(C); ok {
			return earlier, nil
		}
	}
	if err != nil {
		return c, fmt.Errorf("metrics: %w", err)
	}
	return c, nil
}

// start begins a backend's series. What is in flight is read off the backend when
// somebody asks, since it changes with each request.
func (m *metrics) start(r prometheus.Registerer, pool string, b *backend) error {
	m.state(pool, b)
	m.failures.WithLabelValues(pool, b.address).Add(0)
	if r == nil {
		return nil
	}
	return r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "sallyport_backend_requests_in_flight",
		Help:        "Requests sent to the backend whose answer has not ended.",
		ConstLabels: prometheus.Labels{"pool": pool, "backend": b.address},
	}, func() float64 { return float64(b.inFlight.Load()) }))
}

func (m *metrics) state(pool string, b *backend) {
	v := 0.0
	if b.state == up {
		v = 1
	}
	m.up.WithLabelValues(pool, b.address).Set(v)
}

func (m *metrics) failed(pool string, b *backend) {
	m.failures.WithLabelValues(pool, b.address).Inc()
}
