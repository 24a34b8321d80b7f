package proxy

import (
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// shortages are what this process or machine can run out of: descriptors, ports, memory
// of the kernel. They say nothing of who is at the other end.
var shortages = []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM}

// isShortage reports whether err comes of a shortage of our own.
func isShortage(err error) bool {
	var dns *net.DNSError
	for _, s := range shortages {
		// A net.DNSError has only the text of what a look-up came to grief by.
		if errors.Is(err, s) || errors.As(err, &dns) && strings.HasSuffix(dns.Err, s.Error()) {
			return true
		}
	}
	return false
}

// sayAgain is how often it is logged that connections cannot be had.
const sayAgain = time.Minute

// notedShortages are those of one kind.
type notedShortages struct {
	mu    sync.Mutex
	said  time.Time
	times int // since then
}

// noteShortage notes a connection that could not be accepted, or made to a backend for
// want of something of our own. It is logged now and then, since many fail in a row.
func (s *Server) noteShortage(in string, n *notedShortages, err error, attrs ...any) {
	s.metrics.shortages.WithLabelValues(in).Inc()
	n.mu.Lock()
	n.times++
	now := time.Now()
	if !n.said.IsZero() && now.Sub(n.said) < sayAgain {
		n.mu.Unlock()
		return
	}
	times := n.times
	n.said, n.times = now, 0
	n.mu.Unlock()
	text := "connections cannot be accepted"
	if in == inBackend {
		text = "connections to backends cannot be made"
	}
	s.log.Warn(text, append(attrs, "error", err, "times", times)...)
}
