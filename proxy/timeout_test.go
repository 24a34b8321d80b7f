package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const short = 100 * time.Millisecond

func timeouts(edit func(*Timeouts)) func(*Config) {
	return func(c *Config) { edit(&c.Listeners[0].Timeouts) }
}

func TestTimeout_Handshake(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Handshake = short }))
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	halting := &halting{Conn: c}
	if err := tls.Client(halting, f.tls(www)).Handshake(); err == nil {
		t.Error("shaken hands without a word of the client's")
	}
	f.log.until(t, "handshake failed")
}

// halting is a connection on which only the first piece is sent.
type halting struct {
	net.Conn
	sent bool
}

func (h *halting) Write(p []byte) (int, error) {
	if h.sent {
		_, err := h.Conn.Read(make([]byte, 1))
		return 0, err
	}
	h.sent = true
	return h.Conn.Write(p)
}

func TestTimeout_SlowHello(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Header = short }))
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte{22, 3, 1}) // the beginning of a ClientHello
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes", n)
	}
	f.log.until(t, "handshake failed")
}

// The handshake's time, which bounds what a token has to do, is not used up by a
// client that is slow to say what it wants.
func TestTimeout_OfAHandshakeBeginsBehindTheHello(t *testing.T) {
	pool, _ := poolOf(t)
	const limit = time.Hour
	left := make(chan time.Time, 1)
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Handshake = limit }), func(c *Config) {
		c.Sites[0].Certificates.(*memoryKey).asked = func(hello *tls.ClientHelloInfo) {
			end, _ := hello.Context().Deadline()
			left <- end
		}
	})
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	last := &lastByte{Conn: c}
	if err := tls.Client(last, f.tls(www)).Handshake(); err != nil {
		t.Fatal(err)
	}
	if end := <-left; end.Before(last.at.Add(limit)) {
		t.Errorf("it ends %v too early", last.at.Add(limit).Sub(end))
	}
}

// lastByte sends the last byte of what is written first by itself, and notes when.
type lastByte struct {
	net.Conn
	at time.Time
}

func (l *lastByte) Write(p []byte) (int, error) {
	if !l.at.IsZero() {
		return l.Conn.Write(p)
	}
	n, err := l.Conn.Write(p[:len(p)-1])
	if err != nil {
		return n, err
	}
	time.Sleep(10 * time.Millisecond)
	l.at = time.Now()
	m, err := l.Conn.Write(p[n:])
	return n + m, err
}

func TestRehearsal_KnowsAWholeHello(t *testing.T) {
	record := func(p ...byte) string { return string(append([]byte{22, 3, 1, byte(len(p) >> 8), byte(len(p))}, p...)) }
	for name, tc := range map[string]struct {
		sent string
		over bool
	}{
		"nothing":                       {"", false},
		"the head of a record":          {record(1)[:5], false},
		"half a record":                 {record(1, 0, 0, 2, 8, 8)[:10], false},
		"a record":                      {record(1, 0, 0, 2, 8, 8), true},
		"a record, and the next":        {record(1, 0, 0, 2, 8, 8) + "\x14", true},
		"half a message":                {record(1, 0, 0, 2, 8), false},
		"two records":                   {record(1, 0, 0, 2, 8) + record(8), true},
		"a record a byte":               {record(1) + record(0) + record(0) + record(1) + record(8), true},
		"a record a byte, but the last": {record(1) + record(0) + record(0) + record(1), false},
		"another message":               {record(2), true},
		"another record":                {"\x15", true},
		"no TLS":                        {"GET / HTTP/1.1", true},
		"an empty record":               {record(), true},
		"a record, and something else":  {record(1) + "G", true},
	} {
		if got := helloOver([]byte(tc.sent)); got != tc.over {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTimeout_SlowHead(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Header = short }))
	c := f.dial(www)
	c.send("GET / HTTP/1.1\nHost: ")
	if err := c.ended(); err != nil {
		t.Error(err)
	}
}

func TestTimeout_Idle(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Idle = short }))
	c := f.dial(www)
	c.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
	if res := c.answer(); res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	if err := c.ended(); err != nil {
		t.Error(err)
	}
}

func TestTimeout_IdleHTTP2(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Idle = short }))
	h := f.dialHTTP2()
	for {
		fr, err := h.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY before %v", err)
		}
		if _, ok := fr.(*http2.GoAwayFrame); ok {
			return
		}
	}
}

func TestTimeout_BodyWithoutProgressIs408(t *testing.T) {
	pool, b := poolOf(t, backend(t, echo))
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Read = short }))
	for name, head := range map[string]string{
		"small": "Content-Length: 10", // no backend is asked before it is whole
		"large": "Content-Length: 100000",
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial(www)
			c.send("POST / HTTP/1.1\nHost: " + www + "\n" + head + "\n\nhalf")
			if res := c.answer(); res.StatusCode != 408 {
				t.Errorf("got %d", res.StatusCode)
			}
			if err := c.ended(); err != nil {
				t.Error(err)
			}
			if name == "large" {
				if r := b.next(); r.blamed() {
					t.Errorf("the backend was blamed: %v", r.err)
				}
			}
			if line := f.access.next(t); line["outcome"].String() != errBodySlow.outcome {
				t.Errorf("logged %v", line)
			}
		})
	}
}

func TestTimeout_BodyWithoutProgressIs408HTTP2(t *testing.T) {
	pool, b := poolOf(t, backend(t, echo))
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Read = short }))
	pr, pw := io.Pipe()
	defer pw.Close()
	res, err := f.client("h2").Post(base+"/", "text/plain", pr)
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != 408 {
		t.Errorf("got %d", res.StatusCode)
	}
	if r := b.next(); r.blamed() {
		t.Errorf("the backend was blamed: %v", r.err)
	}
}

// TestTimeout_SlowButSteadyBodyIsNot has a body that takes longer as a whole
// than every timeout, and a backend that answers only when it is there.
func TestTimeout_SlowButSteadyBodyIsNot(t *testing.T) {
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		p, _ := io.ReadAll(r.Body)
		w.Write(p)
	}))
	pool.ResponseTimeout = 250 * time.Millisecond
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Read, t.Write = 400*time.Millisecond, 250*time.Millisecond }))
	bothProtocols(t, func(t *testing.T, protocol string) {
		pr, pw := io.Pipe()
		go func() {
			for range 12 {
				time.Sleep(50 * time.Millisecond) // the body's pace, not a wait for a condition
				pw.Write([]byte("x"))
			}
			pw.Close()
		}()
		res, err := f.client(protocol).Post(base+"/", "text/plain", pr)
		if err != nil {
			t.Fatal(err)
		}
		if body := text(t, res); res.StatusCode != 200 || body != "xxxxxxxxxxxx" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	})
}

func TestTimeout_LongPollIsNotCutByTheClientsTimeouts(t *testing.T) {
	waits := make(chan struct{}, 1)
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		waits <- struct{}{}
		<-time.After(4 * short)
		w.Write([]byte("news"))
	}))
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Read, t.Write, t.Idle, t.Header = short, short, short, short }))
	bothProtocols(t, func(t *testing.T, protocol string) {
		res, err := f.client(protocol).Post(base+"/", "text/plain", bytes.NewReader(make([]byte, 10)))
		if err != nil {
			t.Fatal(err)
		}
		<-waits
		if body := text(t, res); body != "news" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	})
}

func TestTimeout_SlowReaderIsCut(t *testing.T) {
	pool, b := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, zeroes(64<<20)) }))
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Write = short }))
	c := f.dial(www)
	c.send("GET / HTTP/1.1\nHost: " + www + "\n\n") // and reads nothing
	if r := b.next(); r.blamed() {
		t.Errorf("the backend was blamed: %v", r.err)
	}
	if line := f.access.next(t); line["outcome"].String() != errReaderSlow.outcome {
		t.Errorf("logged %v", line)
	}
}

// dialHTTP2 opens a connection for HTTP/2 frames by hand.
func (f *front) dialHTTP2() *http2.Framer {
	f.t.Helper()
	h, _ := f.dialHTTP2Conn()
	return h
}

func (f *front) dialHTTP2Conn() (*http2.Framer, net.Conn) {
	f.t.Helper()
	conf := f.tls(www)
	conf.NextProtos = []string{"h2"}
	c, err := tls.Dial("tcp", f.addr, conf)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, http2.ClientPreface)
	h := http2.NewFramer(c, bufio.NewReader(c))
	if err := h.WriteSettings(); err != nil {
		f.t.Fatal(err)
	}
	return h, c
}

func TestTimeout_StreamWithoutWindowIsCut(t *testing.T) {
	pool, b := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, zeroes(64<<20)) }))
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Write = short }))
	h := f.dialHTTP2()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, kv := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}} {
		enc.WriteField(hpack.HeaderField{Name: kv[0], Value: kv[1]})
	}
	if err := h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	for {
		fr, err := h.ReadFrame()
		if err != nil {
			t.Fatalf("no reset before %v", err)
		}
		if _, ok := fr.(*http2.RSTStreamFrame); ok {
			break
		}
	}
	if r := b.next(); r.blamed() {
		t.Errorf("the backend was blamed: %v", r.err)
	}
	if line := f.access.next(t); line["outcome"].String() != errReaderSlow.outcome {
		t.Errorf("logged %v", line)
	}
}

func TestTimeout_BackendSilentWithinAnAnswer(t *testing.T) {
	pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		io.Copy(io.Discard, r)
	}))
	pool.SilenceTimeout = short
	f := serve(t, pool)
	res, err := f.client("h2").Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("a whole answer: %q", p)
	}
	res.Body.Close()
	if r := b.next(); !errors.Is(r.err, errBackendSilent) {
		t.Errorf("released with %v", r.err)
	}
}

func TestTimeout_BackendThatDoesNotReadIs504(t *testing.T) {
	hold := make(chan struct{})
	pool, b := poolOf(t, rawBackend(t, func(net.Conn) { <-hold }))
	defer close(hold)
	pool.ResponseTimeout = short
	f := serve(t, pool)
	res, err := f.client("h1").Post(base+"/", "text/plain", io.NopCloser(zeroes(64<<20)))
	if err == nil {
		if res.Body.Close(); res.StatusCode != 504 {
			t.Error(res.StatusCode)
		}
	} // else the client noticed the closed connection before the answer
	if r := b.next(); r.err == nil {
		t.Error("the backend was not blamed")
	}
	if line := f.access.next(t); line["status"].Int64() != 504 {
		t.Errorf("logged %v", line)
	}
}

func TestWatch_FiresOnlyBetweenBeginAndEnd(t *testing.T) {
	fired := make(chan struct{}, 1)
	w := newWatch(time.Millisecond, func() { fired <- struct{}{} })
	for range 100 {
		w.begin()
		w.end()
	}
	w.begin()
	await(t, "the watch", fired)
	w.stop()
	if !w.hasExpired() {
		t.Error("it does not say so")
	}
}

// full is a front with two connections, which is as many as it may have. The first is idle,
// unless it is busy; the second has a request under way until finish is called.
func full(t *testing.T, busy bool) (f *front, first, second *raw, finish func()) {
	hold := make(chan struct{})
	finish = sync.OnceFunc(func() { close(hold) })
	t.Cleanup(finish)
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			<-hold
		}
	}))
	f = serve(t, pool, func(c *Config) { c.Listeners[0].MaxConnections = 2 })
	first, second = f.dial(www), f.dial(www)
	if busy {
		first.send("GET /held HTTP/1.1\nHost: " + www + "\n\n")
	} else {
		first.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
		first.answer()
	}
	second.send("GET /held HTTP/1.1\nHost: " + www + "\n\n")
	want := 1
	if busy {
		want = 2
	}
	for f.server.requests.count() != want {
		time.Sleep(time.Millisecond)
	}
	return f, first, second, finish
}

func TestAccept_AtMostSoManyConnections(t *testing.T) {
	f, first, second, finish := full(t, true)
	third, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	shaken := make(chan error, 1)
	go func() { shaken <- tls.Client(third, f.tls(www)).Handshake() }()
	select {
	case err := <-shaken:
		t.Errorf("the third was served beside two others: %v", err)
	case <-time.After(2 * roomEvery): // it has been looked for room
	}
	finish()
	if res := first.answer(); res.StatusCode != 200 {
		t.Error(res.StatusCode)
	}
	second.Close()
	if err := await(t, "the third's turn", shaken); err != nil {
		t.Error(err)
	}
}

// A connection on which nothing is asked for holds its place no longer than others leave it.
func TestAccept_WhoWaitsLongestMakesRoom(t *testing.T) {
	f, first, second, finish := full(t, false)
	third := f.dial(www)
	third.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
	if res := third.answer(); res.StatusCode != 200 {
		t.Error(res.StatusCode)
	}
	if err := first.ended(); err != nil {
		t.Errorf("the idle one: %v", err)
	}
	if n := testutil.ToFloat64(f.server.metrics.evicted.WithLabelValues(f.server.listeners[0].Name)); n != 1 {
		t.Errorf("%v were closed for others", n)
	}
	finish()
	if res := second.answer(); res.StatusCode != 200 {
		t.Error(res.StatusCode)
	}
}

// moody is a listener that fails a few times.
type moody struct {
	net.Listener
	fails int
}

func (m *moody) Accept() (net.Conn, error) {
	if m.fails > 0 {
		m.fails--
		return nil, errors.New("too many open files")
	}
	return m.Listener.Accept()
}

func TestAccept_PassingErrorsAreOutwaited(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, func(c *Config) {
		c.Listeners[0].Listener = &moody{c.Listeners[0].Listener, 3}
	})
	res, err := f.client("h1").Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if line := f.log.until(t, "connections cannot be accepted"); line["times"].Int64() != 1 {
		t.Errorf("logged %v", line)
	}
	if n := testutil.ToFloat64(f.server.metrics.shortages.WithLabelValues(inAccept)); n != 3 {
		t.Errorf("%v were counted", n)
	}
}
