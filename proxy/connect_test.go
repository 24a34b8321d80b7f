package proxy

import (
	"context"
	"io"
	"net"
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

// lateConnections are links of which each dial has found another backend when its connection comes.
type lateConnections struct{ links }

func (l lateConnections) dial(x *exchange, address string, other func() bool) (link, error) {
	other()
	return l.links.dial(x, address, func() bool { return false })
}

// A backend that was picked meanwhile, and is not needed, goes back to the balancer.
func TestConnect_BackendThatIsNotNeededIsReleased(t *testing.T) {
	bothBackends(t, func(t *testing.T, p Protocol, backend func(testing.TB, http.HandlerFunc) string) {
		pool, b := poolOf(t, backend(t, echo), backend(t, echo))
		pool.Protocol = p
		f := serveMade(t, pool, func(s *Server) { s.forwarders[0].links = lateConnections{s.forwarders[0].links} })
		if got := outcome(f.client("h1"), "/"); got != "200" {
			t.Fatalf("got %s", got)
		}
		if r := b.next(); r.err != context.Canceled || r.address != b.addresses[1] {
			t.Errorf("first: %+v", r)
		}
		if r := b.next(); r.err != nil || r.address != b.addresses[0] {
			t.Errorf("then: %+v", r)
		}
	})
}

// What a backend has said unasked behind one client's response is not another's, also where
// that one waits for a connection.
func TestConnect_WaitingUploadGetsNoConnectionThatHasSpokenUnasked(t *testing.T) {
	address := deaf(t)
	pool, _ := poolOf(t, address)
	pool.ConnectTimeout = 10 * patience
	f := serve(t, pool)
	cs := f.server.forwarders[0].links.(*connections)
	connection := func(unasked string) *backendConn {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { far.Close() })
		io.WriteString(far, unasked)
		return cs.made(near, address)
	}
	spoken, silent := connection("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"), connection("")
	eventually(t, "what was said unasked", func() bool { return !spoken.conn.Alive() })
	waiting := func() bool {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		return len(cs.of(address).waiting) > 0
	}
	got := make(chan link, 1)
	go func() {
		x := &exchange{}
		x.upload.kind = uploadStream
		k, _ := cs.dial(x, address, func() bool { return false })
		got <- k
	}()
	for _, c := range []*backendConn{spoken, silent} {
		eventually(t, "a request that waits", waiting)
		cs.keep(c)
	}
	if k := await(t, "a connection", got); k != link(silent) {
		t.Error("it got the one that has spoken")
	}
	spoken.conn.Close()
	silent.conn.Close()
}
