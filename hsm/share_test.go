package hsm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

func from(t *testing.T, address string) context.Context {
	return forClient(t.Context(), net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 1)))
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
	for _, next := range []<-chan error{greedy[0], greedy[1], modest} {
		q.give(seat, laneECDSA)
		if err := <-next; err != nil {
			t.Fatal(err)
		}
	}
	if len(q.shares[laneECDSA]) != 0 {
		t.Errorf("nobody waits, and these have places: %v", q.shares[laneECDSA])
	}
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
	if len(q.shares[laneECDSA]) != 0 {
		t.Errorf("places: %v", q.shares[laneECDSA])
	}
}

func TestForClient_AnIPv6NetworkIsOneClient(t *testing.T) {
	if a, b := clientOf(from(t, "2001:db8::1")), clientOf(from(t, "2001:db8::ffff:2")); a != b {
		t.Errorf("%v and %v differ", a, b)
	}
	if a, b := clientOf(from(t, "2001:db8::1")), clientOf(from(t, "2001:db8:0:1::1")); a == b {
		t.Errorf("%v is two networks", a)
	}
	if a, b := clientOf(from(t, "192.0.2.1")), clientOf(from(t, "::ffff:192.0.2.1")); a != b {
		t.Errorf("%v and %v differ", a, b)
	}
	if c := clientOf(t.Context()); c != (client{}) {
		t.Errorf("nobody is %v", c)
	}
}
