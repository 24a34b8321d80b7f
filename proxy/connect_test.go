package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func bothBackends(t *testing.T, test func(t *testing.T, p Protocol, backend func(testing.TB, http.HandlerFunc) string)) {
	t.Run("http1", func(t *testing.T) { test(t, HTTP1, backend) })
	t.Run("h2c", func(t *testing.T) { test(t, H2C, h2cBackend) })
}

// Backends that drop packets do not hold a request up for as long as a connection may take, each.
func TestConnect_LooksForAnotherBackendMeanwhile(t *testing.T) {
	bothBackends(t, func(t *testing.T, p Protocol, backend func(testing.TB, http.HandlerFunc) string) {
		pool, b := poolOf(t, deaf(t), deaf(t), backend(t, echo))
		pool.Protocol, pool.ConnectTimeout = p, 10*patience // which would fail the test
		f := serve(t, pool)
		for range 3 {
			res, err := f.client("h2").Post(base+"/", "text/plain", io.NopCloser(strings.NewReader("pay once")))
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, res); res.StatusCode != 200 || got != "pay once" {
				t.Errorf("%d %q", res.StatusCode, got)
			}
			if line := f.access.next(t); line["tries"].Int64() != 3 || line["backend"].String() != b.addresses[2] {
				t.Errorf("logged %v", line)
			}
		}
		b.mu.Lock()
		if n := len(b.open); n != 2 {
			t.Errorf("%d dials go on, want one for each backend", n)
		}
		for _, r := range b.released {
			if r.blamed() {
				t.Errorf("%s was blamed while it is dialled: %v", r.address, r.err)
			}
		}
		b.mu.Unlock()
	})
}

// What became of a dial that goes on is told when it ends.
func TestConnect_BalancerLearnsOfADialThatWentOn(t *testing.T) {
	bothBackends(t, func(t *testing.T, p Protocol, backend func(testing.TB, http.HandlerFunc) string) {
		pool, b := poolOf(t, deaf(t), backend(t, echo))
		pool.Protocol, pool.ConnectTimeout = p, time.Second
		f := serve(t, pool)
		if got := outcome(f.client("h1"), "/"); got != "200" {
			t.Fatalf("got %s", got)
		}
		if r := b.next(); r.err != nil || r.address != b.addresses[1] {
			t.Errorf("first: %+v", r)
		}
		if r := b.next(); !isDial(r.err) || r.address != b.addresses[0] {
			t.Errorf("then: %+v", r)
		}
	})
}

// All that a request waits for connections is bounded by one connect timeout and a bit.
func TestConnect_WaitsAreBoundedInAll(t *testing.T) {
	bothBackends(t, func(t *testing.T, p Protocol, _ func(testing.TB, http.HandlerFunc) string) {
		var all []string
		for range 8 {
			all = append(all, deaf(t))
		}
		pool, _ := poolOf(t, all...)
		pool.Protocol, pool.ConnectTimeout = p, 800*time.Millisecond // patience of 200
		f := serve(t, pool)
		res, err := f.client("h2").Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != 504 {
			t.Error(res.StatusCode)
		}
		if line := f.access.next(t); line["tries"].Int64() > 5 || line["outcome"].String() != errConnectSlow.outcome {
			t.Errorf("logged %v", line)
		}
	})
}

func TestConnect_OneBackendHasAllTheTime(t *testing.T) {
	pool, b := poolOf(t, deaf(t))
	pool.ConnectTimeout = time.Second
	f := serve(t, pool)
	res, err := f.client("h1").Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != 504 {
		t.Error(res.StatusCode)
	}
	if r := b.next(); !isDial(r.err) {
		t.Errorf("released with %v", r.err)
	}
	if line := f.access.next(t); line["tries"].Int64() != 1 {
		t.Errorf("logged %v", line)
	}
}

// A client that leaves takes its dial with it.
func TestConnect_ClientThatLeavesEndsItsDial(t *testing.T) {
	pool, b := poolOf(t, deaf(t))
	pool.ConnectTimeout = 10 * patience
	f := serve(t, pool)
	cs := f.server.forwarders[0].links.(*connections)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	client := f.client("h2")
	go func() {
		defer close(done)
		r, _ := http.NewRequestWithContext(ctx, "GET", base+"/", nil)
		client.Do(r)
	}()
	waiting := func() int {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		return len(cs.of(b.addresses[0]).waiting)
	}
	for waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	await(t, "the client's end", done)
	if r := b.next(); r.err != context.Canceled {
		t.Errorf("released with %v", r.err)
	}
	ended := make(chan struct{})
	go func() { cs.running.Wait(); close(ended) }()
	await(t, "the dial's end", ended)
	if waiting() != 0 {
		t.Error("it still waits")
	}
}
