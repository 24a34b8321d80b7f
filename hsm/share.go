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

type clientKey struct{}

// forClient returns a context of signatures for whoever is at a.
func forClient(ctx context.Context, a net.Addr) context.Context {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return ctx
	}
	addr := t.AddrPort().Addr().Unmap()
	if addr.Is6() {
		if network, err := addr.WithZone("").Prefix(64); err == nil {
			addr = network.Addr()
		}
	}
	return context.WithValue(ctx, clientKey{}, client{addr})
}

func clientOf(ctx context.Context) client {
	c, _ := ctx.Value(clientKey{}).(client)
	return c
}

// shares is how many places of a lane each client has. A client that begins more
// handshakes than a token can sign for fills the lane, and would have the handshakes of
// all others refused; so it loses places to those who have fewer.
type shares map[client]int

func (s *shares) add(c client) {
	if *s == nil {
		*s = shares{}
	}
	(*s)[c]++
}

func (s shares) remove(c client) {
	if s[c]--; s[c] <= 0 {
		delete(s, c)
	}
}

// greedier returns the client with the most places, if that is more than c would have
// with one more.
func (s shares) greedier(c client) (greedy client, ok bool) {
	most := s[c] + 1
	for other, n := range s {
		if n > most {
			greedy, most, ok = other, n, true
		}
	}
	return greedy, ok
}
