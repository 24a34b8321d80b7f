package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"sallyport/proxy/http1"
	"sallyport/proxy/http2"
)

// listener is a Listener made ready.
type listener struct {
	Listener
	server *Server
	tls    *tls.Config
	http1  *http1.Config
	http2  http2.Config
	slots  chan struct{} // one for each open connection
}

const maxAcceptPause = time.Second

// accept accepts connections until ctx ends or the socket is closed, each with
// a goroutine that does its handshake. At MaxConnections it stops accepting, so
// that further ones wait in the kernel's queue and not in memory. What
// Accept reports otherwise passes (out of descriptors, a peer that already
// left): it is logged once and tried again after a growing pause.
func (l *listener) accept(ctx context.Context) error {
	var pause time.Duration
	for {
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		raw, err := l.Listener.Listener.Accept()
		if err != nil {
			<-l.slots
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("proxy: listener %s: %w", l.Name, err)
			}
			if pause == 0 {
				l.server.log.Warn("connections cannot be accepted", "listener", l.Name, "error", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), maxAcceptPause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
			continue
		}
		pause = 0
		socket := newTCPConn(raw)
		boundUnsent(socket)
		gauge := l.server.metrics.connections.WithLabelValues(l.Name)
		gauge.Inc()
		c := &conn{Conn: socket, listener: l, closed: func() { gauge.Dec(); <-l.slots }}
		l.server.handshakes.add()
		go l.handshake(c)
	}
}

// trusts reports whether forwarding fields from peer are believed.
func (l *listener) trusts(peer netip.Addr) bool { return contain(l.TrustedProxies, peer) }

func contain(networks []netip.Prefix, addr netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
