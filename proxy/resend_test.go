package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sick are backends that take a connection and give no response, by what they do with it.
// silent ones wait for hold.
func sick(hold chan struct{}) map[string]func(net.Conn) {
	request := func(c net.Conn) { http.ReadRequest(bufio.NewReader(c)) }
	return map[string]func(net.Conn){
		"resets":              func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) },
		"reads and resets":    func(c net.Conn) { request(c); c.(*net.TCPConn).SetLinger(0) },
		"reads and closes":    func(c net.Conn) { request(c) },
		"is silent":           func(c net.Conn) { request(c); <-hold },
		"speaks no HTTP":      func(c net.Conn) { request(c); io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n") },
		"breaks off its head": func(c net.Conn) { request(c); io.WriteString(c, "HTTP/1.1 200 OK\r\nX:") },
	}
}

func TestResend_NextBackendServesWhatASickOneDoesNot(t *testing.T) {
	for name := range sick(nil) {
		t.Run(name, func(t *testing.T) {
			hold := make(chan struct{})
			defer close(hold)
			pool, b := poolOf(t, rawBackend(t, sick(hold)[name]), backend(t, echo))
			pool.ResponseTimeout = 250 * time.Millisecond
			f := serve(t, pool)
			bothProtocols(t, func(t *testing.T, protocol string) {
				for _, method := range []string{"GET", "PUT"} {
					var body io.Reader
					if method == "PUT" {
						body = strings.NewReader("whole")
					}
					r, _ := http.NewRequest(method, base+"/", body)
					res, err := f.client(protocol).Do(r)
					if err != nil {
						t.Fatal(err)
					}
					if got := text(t, res); res.StatusCode != 200 || body != nil && got != "whole" {
						t.Errorf("%s: %d %q", method, res.StatusCode, got)
					}
					if r := b.next(); !r.blamed() || r.address != b.addresses[0] {
						t.Errorf("first: %+v", r)
					}
					if r := b.next(); r.err != nil || r.address != b.addresses[1] {
						t.Errorf("second: %+v", r)
					}
					if line := f.access.next(t); line["tries"].Int64() != 2 || line["outcome"].String() != "ok" {
						t.Errorf("logged %v", line)
					}
				}
			})
		})
	}
}

func TestResend_NothingIsRepeatedThatMayNotBe(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	for name, do := range sick(hold) {
		if name == "resets" {
			continue // mostly before anything is sent
		}
		var second atomic.Int64
		pool, b := poolOf(t, rawBackend(t, do), backend(t, func(http.ResponseWriter, *http.Request) { second.Add(1) }))
		pool.ResponseTimeout = 250 * time.Millisecond
		f := serve(t, pool)
		for what, r := range map[string]*http.Request{
			"POST":                 newRequest("POST", strings.NewReader("pay once")),
			"PATCH":                newRequest("PATCH", strings.NewReader("add one")),
			"PUT of a long body":   newRequest("PUT", zeroes(1<<20)),
			"unknown method":       newRequest("BREW", nil),
			"PUT without a length": newRequest("PUT", io.NopCloser(strings.NewReader("x"))),
		} {
			res, err := f.client("h2").Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if res.Body.Close(); res.StatusCode != 502 && res.StatusCode != 504 || second.Load() != 0 {
				t.Errorf("%s, backend that %s: %d, second backend asked %d times", what, name, res.StatusCode, second.Load())
			}
			if r := b.next(); !r.blamed() || isDial(r.err) {
				t.Errorf("%s: released with %v", what, r.err)
			}
		}
	}
}

func newRequest(method string, body io.Reader) *http.Request {
	r, _ := http.NewRequest(method, base+"/", body)
	return r
}

// closesAfter is a backend that says so much to each request and closes.
func closesAfter(t testing.TB, text string) string {
	return rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, text)
	})
}

func TestResend_NothingIsRepeatedOnceTheClientHasGotSome(t *testing.T) {
	for name, some := range map[string]string{
		"an interim response": "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
		"a head":              "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
		"half a body":         "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 50_000),
	} {
		var second atomic.Int64
		pool, _ := poolOf(t, closesAfter(t, some), backend(t, func(http.ResponseWriter, *http.Request) { second.Add(1) }))
		f := serve(t, pool)
		bothProtocols(t, func(t *testing.T, protocol string) {
			if got := outcome(f.client(protocol), "/"); got != "502" && got != "half" {
				t.Errorf("%s: the client got %s", name, got)
			}
			if f.access.next(t); second.Load() != 0 {
				t.Errorf("%s: the second was asked", name)
			}
		})
	}
}

func TestResend_FewTimesEachRequest(t *testing.T) {
	var asked atomic.Int64
	do := func(c net.Conn) { asked.Add(1); http.ReadRequest(bufio.NewReader(c)) }
	pool, _ := poolOf(t, rawBackend(t, do), rawBackend(t, do), rawBackend(t, do), rawBackend(t, do), rawBackend(t, do))
	f := serve(t, pool)
	if got := outcome(f.client("h1"), "/"); got != "502" {
		t.Errorf("got %s", got)
	}
	if n := asked.Load(); n != maxResends+1 {
		t.Errorf("%d backends got it", n)
	}
}

// Where all backends fail, only a share of what comes is sent again.
func TestResend_BudgetBoundsWhatIsSentAgain(t *testing.T) {
	var asked atomic.Int64
	do := func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			asked.Add(1)
		}
	}
	pool, _ := poolOf(t, rawBackend(t, do), rawBackend(t, do))
	f := serve(t, pool, quiet)
	frozen := f.server.forwarders[0].resends
	frozen.mu.Lock()
	frozen.last = 1 << 62 // no time passes for it
	frozen.mu.Unlock()
	client := f.client("h1")
	const requests = 200
	for range requests {
		if got := outcome(client, "/"); got != "502" {
			t.Fatalf("got %s", got)
		}
	}
	again := asked.Load() - requests
	if most := int64(resendKept + requests*resendShare); again < most-1 || again > most {
		t.Errorf("%d were sent again, want %d", again, most)
	}
}

func TestResendBudget(t *testing.T) {
	b := &resendBudget{left: 1}
	if !b.take(0) || b.take(0) {
		t.Error("it has one")
	}
	for range 10 {
		b.earn()
	}
	for i, want := range []bool{true, true, false} {
		if b.take(0) != want {
			t.Errorf("ten requests earn two, and take %d is %t", i, !want)
		}
	}
	if !b.take(time.Second) || b.take(time.Second) {
		t.Error("a second earns one")
	}
	taken := 0
	for b.take(time.Hour) {
		taken++
	}
	if taken != resendKept {
		t.Errorf("%d were kept", taken)
	}
}

// A client waits for two response timeouts at most.
func TestResend_NotAfterItsTime(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool).server.forwarders[0]
	x := &exchange{}
	if x.firstAsked = time.Since(epoch); !f.mayResend(x) {
		t.Error("not just after the first try")
	}
	if x.firstAsked -= f.ResponseTimeout; !f.mayResend(x) {
		t.Error("not when the first try has taken as long as it may")
	}
	x.resends = 0
	if x.firstAsked -= f.ResponseTimeout; f.mayResend(x) {
		t.Error("after two response timeouts")
	}
}

func TestResend_ClientThatLeftTeachesNothing(t *testing.T) {
	arrived, hold := make(chan struct{}, 1), make(chan struct{})
	defer close(hold)
	var second atomic.Int64
	pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		arrived <- struct{}{}
		<-hold
	}), backend(t, func(http.ResponseWriter, *http.Request) { second.Add(1) }))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "GET", base+"/", nil)
		done := make(chan struct{})
		client := f.client(protocol)
		go func() { defer close(done); client.Do(r) }()
		await(t, "the request", arrived)
		cancel()
		await(t, "the client's end", done)
		if r := b.next(); r.err != context.Canceled || second.Load() != 0 {
			t.Errorf("released with %v; second asked %d times", r.err, second.Load())
		}
	})
}

// responding is a Balancer that wants to know at once.
type responding struct {
	*backends
	responded chan uint64
}

func (r responding) Responded(ticket uint64) { r.responded <- ticket }

func TestResend_BalancerLearnsOfAResponseBeforeItsEnd(t *testing.T) {
	end := make(chan struct{})
	b := responding{newBackends(t, backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		<-end
	})), make(chan uint64, 10)}
	f := serve(t, &Pool{Name: "web", Balancer: b})
	res, err := f.client("h1").Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the news", b.responded)
	if n := len(b.changed); n != 0 {
		t.Error("the try is over")
	}
	close(end)
	res.Body.Close()
	b.next()
}

// probing is a Balancer that makes one probe.
type probing struct {
	*backends
	learnt chan error
}

func (p probing) Run(ctx context.Context, dial func(context.Context, string) error) error {
	p.learnt <- dial(ctx, p.addresses[0])
	<-ctx.Done()
	return nil
}

func TestProbe_DialsAsThePoolDoes(t *testing.T) {
	fd, address := bound(t)
	defer unix.Close(fd)
	for name, tc := range map[string]struct {
		address  string
		protocol Protocol
		dial     bool // whether the connection cannot be made
	}{
		"HTTP/1.1":             {backend(t, echo), HTTP1, false},
		"nobody":               {address, HTTP1, true},
		"h2c":                  {h2cBackend(t, echo), H2C, false},
		"h2c, which it is not": {backend(t, echo), H2C, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := probing{newBackends(t, tc.address), make(chan error, 1)}
			serve(t, &Pool{Name: "web", Balancer: p, Protocol: tc.protocol})
			if err := await(t, "the probe", p.learnt); isDial(err) != tc.dial || !tc.dial && err != nil {
				t.Errorf("it learnt %v", err)
			}
		})
	}
}
