package proxy

import (
	"net/netip"
	"sync"
	"time"

	"sallyport/proxy/memory"
)

// What a connection holds of the process's memory as a rule: one that idles, with its
// handshake's record and a waiting goroutine, and one of HTTP/1.1 with a request
// under way, with the buffers of both sides. HTTP/2 counts by itself what it adds.
const (
	connBytes    = 16 << 10
	requestBytes = 32 << 10
)

// footprint is what a connection holds of the process's memory, as its client's.
type footprint struct {
	mu    sync.Mutex
	by    *memory.Client
	bytes int
	over  bool
}

func (h *footprint) begin(b *memory.Budget, client netip.Addr) {
	h.by, h.bytes = b.Client(client), connBytes
	h.by.Take(h.bytes)
}

// move has another client hold it, who has been introduced.
func (h *footprint) move(b *memory.Budget, client netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return
	}
	h.by.Take(-h.bytes)
	h.by.Release()
	h.by = b.Client(client)
	h.by.Take(h.bytes)
}

// set says how much it is from now on.
func (h *footprint) set(bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.by.Take(bytes - h.bytes)
		h.bytes = bytes
	}
}

func (h *footprint) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.over = true
		h.by.Take(-h.bytes)
		h.by.Release()
	}
}

// enter charges a connection to its client, and reports whether there is memory for it.
func (l *listener) enter(c *conn) bool {
	if c.introduced != nil {
		c.held.move(l.server.memory, addrOf(c.RemoteAddr()))
	}
	if !c.held.by.Out() {
		return true
	}
	c.held.by.Rationed(memory.ConnectionRefused)
	return false
}

// idler is a client that may have nothing under way.
type idler interface {
	client
	Idle() bool
	unread() time.Duration // it has waited for so long to have something read; 0: it does not
	close()                // at once
	account() *memory.Client
}

// scarce tells of memory that is short.
type scarce struct{ is bool }

// look closes connections of clients that have to give way, if these are idle or not read
// from, and tells when that begins and ends.
func (m *scarce) look(s *Server) {
	b := s.memory
	before := m.is
	m.is = b.Used() > b.Limit()-b.Limit()/8
	switch {
	case m.is && !before:
		s.log.Warn("memory is short: clients that hold most are rationed", "used", b.Used(), "limit", b.Limit())
	case !m.is && before:
		s.log.Info("memory suffices again", "used", b.Used(), "limit", b.Limit())
	}
	if !m.is {
		return
	}
	for _, c := range s.clients.snapshot() {
		i, ok := c.(idler)
		switch {
		case !ok || !i.account().Out():
		case i.Idle():
			i.account().Rationed(memory.ConnectionClosed)
			i.Shutdown()
		case i.unread() >= leastWait:
			i.account().Rationed(memory.ConnectionClosed)
			i.close()
		}
	}
}
