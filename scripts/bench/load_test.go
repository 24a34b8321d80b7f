package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// gated is a load whose window is over when enough has been done, whatever the
// machine's speed.
type gated struct {
	load
	enough int64
}

func (g gated) done(ctx context.Context) (int64, error) {
	for {
		n, err := g.load.done(ctx)
		if err != nil || n >= g.enough {
			return n, err
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return n, err
		}
	}
}

func TestMeasureLoad(t *testing.T) {
	i := startSample(t, deviation{})
	for name, l := range map[string]load{
		"handshakes in full":      &handshakes{clients: 4, label: "ec", version: tls.VersionTLS13},
		"handshakes with RSA":     &handshakes{clients: 4, label: "rsa", version: tls.VersionTLS13},
		"resumed with TLS 1.3":    &handshakes{clients: 4, label: "ec", version: tls.VersionTLS13, resumed: true},
		"resumed with TLS 1.2":    &handshakes{clients: 4, label: "ec", version: tls.VersionTLS12, resumed: true},
		"messages on WebSockets":  &echoes{clients: 4},
		"requests that are paced": &requests{clients: 4, every: time.Millisecond},
		"a storm":                 &storm{rate: 1000, bound: 4},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := measureLoad(t.Context(), i, gated{l, 10}, pacing{0, 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if u.units <= 0 || u.cpu <= 0 || u.elapsed < 50*time.Millisecond {
				t.Errorf("got %+v", u)
			}
		})
	}
}

// A client that fails makes the sample invalid, and says why.
func TestMeasureLoad_FailsWithOneOfItsClients(t *testing.T) {
	i := startSample(t, deviation{})
	var once sync.Once
	l := &workers{}
	failing := startFunc{l, func(ctx context.Context, _ *instance) error {
		l.run(ctx, 4, func(ctx context.Context, _ int) error {
			fails := false
			once.Do(func() { fails = true })
			if fails {
				return errors.New("cut off")
			}
			for ctx.Err() == nil {
				l.units.Add(1)
				_ = sleep(ctx, time.Millisecond) // ends with the load
			}
			return nil
		})
		return nil
	}}
	_, err := measureLoad(t.Context(), i, failing, pacing{0, 50 * time.Millisecond})
	wantError(t, err, "1 of the load's clients failed, the first with: cut off")
}

type startFunc struct {
	*workers
	do func(context.Context, *instance) error
}

func (s startFunc) start(ctx context.Context, i *instance) error { return s.do(ctx, i) }

// An end of the connection that is no orderly one is an error of the server.
func TestConnectOnce_WantsAnOrderlyEnd(t *testing.T) {
	i := startSample(t, deviation{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	if err := connectOnce(t.Context(), l.Addr().String(), i.clientTLS("ec"), false); err == nil {
		t.Error("a handshake that broke off was taken for one")
	}
	err = connectOnce(t.Context(), i.address, i.clientTLS("ec"), true)
	if err == nil || !strings.Contains(err.Error(), "resumed: false") {
		t.Errorf("a full handshake passes for a resumed one: %v", err)
	}
}

// Requests that had to wait for the one before them are late by that.
func TestRequests_CountWaitsAsLatency(t *testing.T) {
	i := startSample(t, deviation{})
	r := &requests{clients: 1, every: time.Nanosecond} // each is due long before it can be made
	if _, err := measureLoad(t.Context(), i, gated{r, 20}, pacing{}); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(r.taken); n++ {
		if r.taken[n] < r.taken[n-1] {
			t.Fatalf("request %d took %v, after one of %v: it did not count its wait", n, r.taken[n], r.taken[n-1])
		}
	}
	p, err := r.percentiles(50, 99)
	if err != nil || p[0] > p[1] || p[1] <= 0 {
		t.Errorf("got %v, %v", p, err)
	}
}

func TestHold_KeepsConnectionsOpen(t *testing.T) {
	i := startSample(t, deviation{})
	held, err := hold(t.Context(), i, 40, false)
	if err != nil || len(held) != 40 {
		t.Fatalf("held %d, %v", len(held), err)
	}
	defer release(held)
	for _, c := range held {
		if err := c.get(); err != nil {
			t.Fatal(err)
		}
	}
}
