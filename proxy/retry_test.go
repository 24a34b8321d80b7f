package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/proxy/message"
)

func TestRetry_NextBackendGetsTheWholeRequest(t *testing.T) {
	dead := refused(t)
	pool, b := poolOf(t, dead, backend(t, echo))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		const size = 1 << 20
		res, err := f.client(protocol).Post(base+"/", "text/plain", io.NopCloser(zeroes(size)))
		if err != nil {
			t.Fatal(err)
		}
		if body := text(t, res); res.StatusCode != 200 || len(body) != size {
			t.Errorf("%d, %d bytes", res.StatusCode, len(body))
		}
		if r := b.next(); r.address != dead || !isDial(r.err) {
			t.Errorf("first: %+v", r)
		}
		if r := b.next(); r.address == dead || r.err != nil {
			t.Errorf("second: %+v", r)
		}
		if line := f.access.next(t); line["tries"].Int64() != 2 || line["status"].Int64() != 200 {
			t.Errorf("logged %v", line)
		}
	})
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func TestRetry_NobodyReachedIs502(t *testing.T) {
	pool, b := poolOf(t, refused(t), refused(t), refused(t))
	f := serve(t, pool)
	res, err := f.client("h2").Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	if body := text(t, res); res.StatusCode != 502 || body != "502 Bad Gateway\n" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	for range 3 {
		if r := b.next(); !isDial(r.err) {
			t.Errorf("released with %v", r.err)
		}
	}
	if line := f.access.next(t); line["tries"].Int64() != 3 || line["outcome"].String() != errUnreachable.outcome {
		t.Errorf("logged %v", line)
	}
}

func TestRetry_NoBackendsIs502(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool)
	res, err := f.client("h1").Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != 502 {
		t.Error(res.StatusCode)
	}
}

func TestRetry_ConnectionThatDiedUnusedIsNoAnswer(t *testing.T) {
	// The backend closes each connection after its answer without saying so.
	pool, _ := poolOf(t, rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}))
	f := serve(t, pool)
	c := f.client("h1")
	for range 10 {
		res, err := c.Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
	}
}

func TestRetry_DeadConnectionIsFoundBeforeABodyStreams(t *testing.T) {
	for _, method := range []string{"PUT", "POST"} {
		// The backend closes its first connection between two requests.
		closed, last := make(chan struct{}), make(chan struct{})
		var conns atomic.Int64
		pool, _ := poolOf(t, rawBackend(t, func(c net.Conn) {
			first := conns.Add(1) == 1
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			if first {
				<-last
				c.Close()
				close(closed)
			}
		}))
		f := serve(t, pool)
		client := f.client("h1")
		for _, body := range []io.Reader{nil, io.NopCloser(zeroes(100 << 10))} {
			r, _ := http.NewRequest(method, base+"/", body)
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if res.Body.Close(); res.StatusCode != 200 {
				t.Errorf("%s: %d", method, res.StatusCode)
			}
			if f.access.next(t); body == nil {
				close(last)
				await(t, "the end of the connection", closed)
			}
		}
	}
}

// What a backend says unasked is nobody's answer: a part of it may be the doing of
// whoever asked before.
func TestRetry_NobodyGetsAnAnswerThatCameUnasked(t *testing.T) {
	asked, said := make(chan struct{}), make(chan struct{})
	var conns atomic.Int64
	pool, _ := poolOf(t, rawBackend(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		if conns.Add(1) > 1 {
			http.ReadRequest(in)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")
			return
		}
		http.ReadRequest(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
		<-asked
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
		close(said)
		io.Copy(io.Discard, in)
	}))
	f := serve(t, pool)
	for _, want := range []string{"first", "mine"} {
		res, err := f.client("h1").Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, res); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if f.access.next(t); want == "first" {
			close(asked)
			await(t, "the backend's word", said)
		}
	}
}

// A client may leave after its answer was read and before the connection is kept.
func TestConnections_InterruptedOneIsNotKept(t *testing.T) {
	cs := newConnections(Pool{Balancer: only("")}.withDefaults(), nil)
	defer cs.close()
	address := backend(t, echo)
	for _, interrupt := range []bool{false, true} {
		x := new(exchange)
		c, err := cs.dial(x, address, func() bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		if err := c.WriteHead(&message.Request{Method: []byte("GET"), Path: []byte("/"), Authority: []byte("a")}, true); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadHead(); err != nil {
			t.Fatal(err)
		}
		if interrupt {
			c.interrupt()
		}
		if c.release(true); (cs.take(x, address) == nil) != interrupt {
			t.Errorf("interrupted %v, and kept %v", interrupt, !interrupt)
		}
		c.release(false)
	}
}

// deaf returns an address whose connections never come about: its queue is full.
func deaf(t testing.TB) string {
	t.Helper()
	fd, address := bound(t)
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("this kernel's queue does not fill")
	return ""
}

func TestRetry_ConnectTimeoutsAre504(t *testing.T) {
	pool, b := poolOf(t, deaf(t))
	pool.ConnectTimeout = 50 * time.Millisecond
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
	if line := f.access.next(t); line["outcome"].String() != errConnectSlow.outcome {
		t.Errorf("logged %v", line)
	}
}

// leaveWhileConnecting has a client leave whose request waits for a connection to a backend:
// the balancer learns nothing of it.
func leaveWhileConnecting(t *testing.T, pool *Pool, b *backends) {
	t.Helper()
	f := serve(t, pool)
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "GET", base+"/", nil)
	done := make(chan struct{})
	go func() { defer close(done); f.client("h2").Do(r) }()
	for f.server.requests.count() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	await(t, "the client's end", done)
	if r := b.next(); r.err != context.Canceled {
		t.Errorf("released with %v", r.err)
	}
}

func TestRetry_ClientGoneWhileDialingTeachesNothing(t *testing.T) {
	pool, b := poolOf(t, deaf(t))
	pool.ConnectTimeout = patience
	leaveWhileConnecting(t, pool, b)
}

func TestRetry_NoAnswerInTimeIs504(t *testing.T) {
	hold := make(chan struct{})
	pool, b := poolOf(t, rawBackend(t, func(c net.Conn) { <-hold }))
	defer close(hold)
	pool.ResponseTimeout = 50 * time.Millisecond
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		res, err := f.client(protocol).Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != 504 {
			t.Error(res.StatusCode)
		}
		if r := b.next(); r.err == nil || isDial(r.err) {
			t.Errorf("released with %v", r.err)
		}
	})
}

// reaching is a Balancer that wants to know at once.
type reaching struct {
	*backends
	reached chan string
}

func (r reaching) Reached(address string) { r.reached <- address }

func TestRetry_BalancerLearnsOfNewConnections(t *testing.T) {
	b := reaching{newBackends(t, backend(t, echo)), make(chan string, 10)}
	f := serve(t, &Pool{Name: "web", Balancer: b})
	c := f.client("h1")
	for range 3 {
		res, err := c.Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		b.next()
	}
	if got := await(t, "the news", b.reached); got != b.addresses[0] || len(b.reached) != 0 {
		t.Errorf("reached %s and %d more", got, len(b.reached))
	}
}
