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
	open   openConns

	shortages notedShortages
}

const maxAcceptPause = time.Second

// accept accepts connections until ctx ends or the socket is closed, each with
// a goroutine that does its handshake. At MaxConnections one more waits until there is
// room for it (room.go), and it stops accepting, so
// that further ones wait in the kernel's queue and not in memory. What
// Accept reports otherwise passes (out of descriptors, a peer that already
// left), and so does a panic: it is tried again after a growing pause.
func (l *listener) accept(ctx context.Context) error {
	var pause time.Duration
	for {
		raw, err := l.acceptOne()
		if err == nil {
			pause = 0
			if !l.takeSlot(ctx) {
				raw.Close()
				return nil
			}
			l.admit(raw)
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("proxy: listener %s: %w", l.Name, err)
		}
		l.server.noteShortage(inAccept, &l.shortages, err, "listener", l.Name)
		pause = min(max(2*pause, 5*time.Millisecond), maxAcceptPause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// acceptOne is Accept, of which a panic is an error too.
func (l *listener) acceptOne() (raw net.Conn, err error) {
	defer l.server.caught(inAccept, func() { err = errPanicked })
	return l.Listener.Listener.Accept()
}

// admit has a connection served, which has a slot. A panic costs that connection alone.
func (l *listener) admit(raw net.Conn) {
	defer l.server.caught(inAccept, func() {
		defer func() { <-l.slots }()
		raw.Close()
	})
	socket := newTCPConn(raw)
	boundUnsent(socket)
	gauge := l.server.metrics.connections.WithLabelValues(l.Name)
	c := &conn{Conn: socket, socket: socket, listener: l}
	c.closed = func() { gauge.Dec(); c.held.end(); l.open.remove(c); <-l.slots }
	c.held.begin(l.server.memory, addrOf(raw.RemoteAddr()))
	c.waitsForHello()
	l.open.add(c)
	gauge.Inc()
	l.server.handshakes.add()
	go l.handshake(c)
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
