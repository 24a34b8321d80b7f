package proxy

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/proxy/http1"
	"sallyport/proxy/http2"
)

// blames writes down why a backend of a pool has failed requests: in the log once in a while
// for each backend and reason, in the metrics each time. Reasons are texts of this
// program's, and none holds what a backend has sent.
type blames struct {
	pool    string
	log     *slog.Logger
	counter *prometheus.CounterVec

	mu   sync.Mutex
	last map[blame]*blamed
}

// blame is what a line in the log is about.
type blame struct{ backend, reason string }

type blamed struct {
	at    time.Time // when the last line was written
	since int       // failures that had none
}

// blameEvery is how often a backend's reason is in the log at most.
const blameEvery = 10 * time.Second

func newBlames(pool string, s *Server) *blames {
	return &blames{pool: pool, log: s.log, counter: s.metrics.blames, last: map[blame]*blamed{}}
}

// note writes down that a backend failed a request.
func (b *blames) note(backend string, cause *failure, err error) {
	reason := blameReason(cause, err)
	b.counter.WithLabelValues(b.pool, reason).Inc()
	if cause == errUnreachable || cause == errConnectSlow {
		return // the balancer says when the backend goes down
	}
	if repeats, now := b.due(blame{backend, reason}, time.Now()); now {
		b.log.Warn("backend failed a request", "pool", b.pool, "backend", backend, "reason", reason, "repeats", repeats, "error", err)
	}
}

// due reports whether a line is to be written now, and how many there would have been since
// the last one.
func (b *blames) due(what blame, now time.Time) (repeats int, due bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := b.last[what]
	if last == nil {
		b.last[what] = &blamed{at: now}
		return 0, true
	}
	if now.Sub(last.at) < blameEvery {
		last.since++
		return 0, false
	}
	repeats = last.since
	last.at, last.since = now, 0
	return repeats, true
}

// blameReason is why a backend failed a request: one of a small set of texts.
func blameReason(cause *failure, err error) string {
	var broken *http1.Broken
	var reset *http2.ResetError
	var conn *http2.ConnError
	switch {
	case errors.As(err, &broken):
		return broken.Reason
	case errors.As(err, &reset):
		return "stream reset"
	case errors.As(err, &conn):
		return "HTTP/2 connection error" // of which there are too many for a label
	case errors.Is(err, http2.ErrMalformed), errors.Is(err, http2.ErrUnprocessed):
		return "HTTP/2 not kept to"
	case cause != errBackendBroken:
		return cause.outcome
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		if errors.Is(err, errWithin) {
			return "closed within the response"
		}
		return "closed before a response"
	}
	return "other"
}
