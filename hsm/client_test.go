package hsm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
)

// connOf is a connection of a client's that says whether it has hung up.
type connOf struct {
	net.Conn
	remote net.Addr
	gone   atomic.Bool
}

func (c *connOf) RemoteAddr() net.Addr { return c.remote }
func (c *connOf) Gone() bool           { return c.gone.Load() }

func connFrom(address string) *connOf {
	return &connOf{remote: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 1))}
}

func from(t *testing.T, address string) context.Context {
	return forClient(t.Context(), connFrom(address))
}

func TestQueue_WhoHasTheMostMakesRoom(t *testing.T) {
	q := &queue{limit: 3}
	q.add(&process{}, 1)
	seat := mustTake(t, q, laneECDSA)
	var greedy []<-chan error
	for n := range 3 {
		greedy = append(greedy, taking(from(t, "192.0.2.1"), q, laneECDSA))
		waiting(t, q, laneECDSA, n+1)
	}
	if err := <-taking(from(t, "192.0.2.1"), q, laneECDSA); !errors.Is(err, ErrBusy) {
		t.Fatalf("one more of the same client: got %v, want ErrBusy", err)
	}
	modest := taking(from(t, "192.0.2.2"), q, laneECDSA)
	if err := <-greedy[2]; !errors.Is(err, ErrBusy) {
		t.Fatalf("the last of the client with the most: got %v, want ErrBusy", err)
	}
	waiting(t, q, laneECDSA, 3)
	// It has two now, and the other one: neither is better off by another's place.
	if err := <-taking(from(t, "192.0.2.2"), q, laneECDSA); !errors.Is(err, ErrBusy) {
		t.Fatalf("a second of the modest client: got %v, want ErrBusy", err)
	}
	for _, next := range []<-chan error{greedy[0], modest, greedy[1]} {
		q.give(seat, laneECDSA)
		if err := <-next; err != nil {
			t.Fatal(err)
		}
	}
	waiting(t, q, laneECDSA, 0)
}

func TestQueue_WhoGivesUpHasNoPlace(t *testing.T) {
	q := &queue{limit: 2}
	q.add(&process{}, 1)
	mustTake(t, q, laneECDSA)
	ctx, cancel := context.WithCancel(from(t, "192.0.2.1"))
	gone := taking(ctx, q, laneECDSA)
	waiting(t, q, laneECDSA, 1)
	cancel()
	<-gone
	waiting(t, q, laneECDSA, 0)
}

func TestForClient_AnIPv6NetworkIsOneClient(t *testing.T) {
	if a, b := askerOf(from(t, "2001:db8::1")).client, askerOf(from(t, "2001:db8::ffff:2")).client; a != b {
		t.Errorf("%v and %v differ", a, b)
	}
	if a, b := askerOf(from(t, "2001:db8::1")).client, askerOf(from(t, "2001:db8:0:1::1")).client; a == b {
		t.Errorf("%v is two networks", a)
	}
	if a, b := askerOf(from(t, "192.0.2.1")).client, askerOf(from(t, "::ffff:192.0.2.1")).client; a != b {
		t.Errorf("%v and %v differ", a, b)
	}
	if c := askerOf(t.Context()); c.client != (client{}) {
		t.Errorf("nobody is %v", c)
	}
}
