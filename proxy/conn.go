package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// conn is an accepted connection below TLS, and what must be known of it above.
type conn struct {
	net.Conn
	listener *listener
	site     *site // set once, in the handshake; nil when no site serves the name

	once   sync.Once
	closed func() // gives back the listener's slot
}

// Close closes the socket; the first call gives the slot back.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}

type connKey struct{}

// withConn is an http.Server's ConnContext: it lets a request find its conn.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		return context.WithValue(ctx, connKey{}, t.NetConn())
	}
	return ctx
}

func connFrom(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}
