package pool

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

var errReset = errors.New("connection reset by peer")

// eject has a backend fail until it is passed over; others are those that it is told from.
func (b *bench) eject(t testing.TB, address string, others ...string) {
	t.Helper()
	for range maxStreak {
		if got := b.try(t, errReset, others...); got != address {
			t.Fatalf("picked %q, want %q", got, address)
		}
	}
	if got := b.state(address); got != "ejected" {
		t.Fatalf("%s is %s", address, got)
	}
}

func TestPool_BackendThatFailsInARowIsPassedOver(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	for range maxStreak - 1 {
		p.try(t, errReset, "b:1")
	}
	if got := p.state("a:1"); got != "up" {
		t.Fatalf("after %d failures it is %s", maxStreak-1, got)
	}
	p.try(t, errReset, "b:1")
	for range 4 {
		if got := p.try(t, nil); got != "b:1" {
			t.Errorf("picked %q while a was ejected", got)
		}
	}
	if s := p.Status().Backends[0]; s.State != "ejected" || s.Until != p.clock.Now().Add(firstPause) {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(p.log.String(), "to=ejected") || !strings.Contains(p.log.String(), errReset.Error()) {
		t.Errorf("logged %s", p.log)
	}
}

func TestPool_OneSlowPathEjectsNobody(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	for range 10 * maxStreak {
		p.try(t, context.DeadlineExceeded, "b:1")
		p.try(t, nil, "b:1")
	}
	if got := p.state("a:1"); got != "up" {
		t.Errorf("it is %s", got)
	}
}

// Tunnels end hours after their response.
func TestPool_ResponseForgivesBeforeItsEnd(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	for range 3 * maxStreak {
		p.try(t, errReset, "b:1")
		_, ticket, _ := p.Pick([]string{"b:1"}, true)
		p.Responded(ticket)
		defer p.Release(ticket, nil)
	}
	if got := p.state("a:1"); got != "up" {
		t.Errorf("it is %s", got)
	}
}

func TestPool_ClientsCauseNoEjection(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	for range 10 * maxStreak {
		p.try(t, context.Canceled, "b:1")
	}
	if s := p.Status().Backends[0]; s.State != "up" || s.Failures != 0 {
		t.Errorf("%+v", s)
	}
}

func TestPool_EjectedBackendComesBackByAResponse(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	p.eject(t, "a:1", "b:1")
	p.clock.Advance(firstPause)
	p.Reached("a:1")
	if got := p.state("a:1"); got != "ejected" {
		t.Fatalf("a connection alone made it %s", got)
	}
	var probe uint64
	for i := range 4 {
		address, ticket, _ := p.Pick(nil, true)
		if address == "a:1" {
			if probe != 0 {
				t.Fatal("two probes at once")
			}
			probe = ticket
			continue
		}
		if i == 3 && probe == 0 {
			t.Fatal("no probe")
		}
		p.Release(ticket, nil)
	}
	p.Responded(probe)
	if got := p.state("a:1"); got != "up" {
		t.Errorf("it is %s", got)
	}
	p.Release(probe, nil)
}

func TestPool_ProbesThatFailMakeTheEjectionLonger(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	p.eject(t, "a:1", "b:1")
	var got []time.Duration
	for range 8 {
		pause := p.Status().Backends[0].Until.Sub(p.clock.Now()) / time.Second
		got = append(got, pause)
		p.clock.Advance(pause * time.Second)
		p.try(t, errReset, "b:1")
	}
	if want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}; !slices.Equal(got, want) {
		t.Errorf("pauses %d, want %d", got, want)
	}
}

func TestPool_RequestThatCannotBeSentAgainIsTheLastToProbe(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	p.eject(t, "a:1", "b:1")
	p.clock.Advance(firstPause)
	post := func() string {
		var picked []string
		for range 2 {
			address, ticket, _ := p.Pick(nil, false)
			picked = append(picked, address)
			p.Release(ticket, errReset)
		}
		return strings.Join(picked, " ")
	}
	if got := post(); got != "b:1 b:1" {
		t.Errorf("picked %s", got)
	}
	p.clock.Advance(maxPause) // and nothing else comes
	if got := post(); !strings.Contains(got, "a:1") {
		t.Errorf("picked %s", got)
	}
}

func TestPool_MostBackendsStay(t *testing.T) {
	for n, want := range map[int]int{1: 0, 2: 1, 3: 2, 4: 2, 5: 3} {
		var all []string
		for i := range n {
			all = append(all, string(rune('a'+i))+":1")
		}
		p := newPool(t, all...)
		for range 20 * maxStreak * n {
			p.try(t, errReset)
		}
		ejected := 0
		for _, b := range p.Status().Backends {
			if b.State == "ejected" {
				ejected++
			}
		}
		if ejected != want {
			t.Errorf("%d of %d are ejected, want %d", ejected, n, want)
		}
	}
}

func TestPool_LastBackendThatIsUpStays(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	p.fell(t, "b:1", "a:1")
	for range 3 * maxStreak {
		p.try(t, errReset, "b:1")
	}
	if got := p.state("a:1"); got != "up" {
		t.Errorf("it is %s", got)
	}
}

func TestPool_EjectedOneIsPreferredToOneThatIsDown(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	p.eject(t, "b:1", "a:1")
	p.fell(t, "a:1", "b:1")
	if got := p.try(t, errReset); got != "b:1" {
		t.Errorf("picked %q", got)
	}
}
