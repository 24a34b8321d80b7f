package proxy

import (
	"context"
	"crypto/tls"
	"time"
)

// handshake does c's TLS handshake and hands the connection on. It is the body
// of a goroutine of its own, so that a signature that takes its time holds up
// this connection only. It ends within the handshake timeout, or when the
// server stops waiting for handshakes: HandshakeContext closes the socket.
func (l *listener) handshake(c *conn) {
	defer l.server.handshakes.done()
	ctx, cancel := context.WithTimeout(l.server.handshakeCtx, l.Timeouts.Handshake)
	defer cancel()

	began := time.Now()
	t := tls.Server(c, l.tls)
	err := t.HandshakeContext(ctx)
	state := t.ConnectionState()
	l.server.metrics.handshake(c.site, state, err, time.Since(began))
	if err != nil {
		l.server.log.Debug("handshake failed", "listener", l.Name, "client", c.RemoteAddr(), "site", siteName(c.site), "error", err)
		c.Close()
		return
	}
	if !l.handoff.put(ctx, t) {
		c.Close()
	}
}

func siteName(s *site) string {
	if s == nil {
		return ""
	}
	return s.name
}
