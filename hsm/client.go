package hsm

import (
	"context"
	"net"
	"net/netip"
)

// client is who a signature is for: an address, or an IPv6 network of 64 bits, which
// a single client mostly has to itself. Those that no client has asked for have the
// zero value.
type client struct{ addr netip.Addr }

func (c client) String() string {
	switch {
	case !c.addr.IsValid():
		return "none"
	case c.addr.Is6():
		return netip.PrefixFrom(c.addr, 64).String()
	}
	return c.addr.String()
}

// asker is a client and a way to tell whether it is still there.
type asker struct {
	client
	gone func() bool // may be nil
}

// left reports whether the client has hung up.
func (a asker) left() bool { return a.gone != nil && a.gone() }

// leaver is a connection that knows whether its client has hung up: for the time of a
// signature nobody reads from it. Gone is called with locks held: it must not wait.
type leaver interface{ Gone() bool }

type askerKey struct{}

// forClient returns a context of signatures for whoever is at the other end of c.
func forClient(ctx context.Context, c net.Conn) context.Context {
	t, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return ctx
	}
	addr := t.AddrPort().Addr().Unmap()
	if addr.Is6() {
		if network, err := addr.WithZone("").Prefix(64); err == nil {
			addr = network.Addr()
		}
	}
	a := asker{client: client{addr}}
	if l, ok := c.(leaver); ok {
		a.gone = l.Gone
	}
	return context.WithValue(ctx, askerKey{}, a)
}

func askerOf(ctx context.Context) asker {
	a, _ := ctx.Value(askerKey{}).(asker)
	return a
}
