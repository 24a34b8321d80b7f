package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// private is what the panics of these tests say, and no log may.
const private = "Bearer 0123456789"

// panicky are links that panic in one method of theirs.
type panicky struct {
	links
	in string
}

func (p panicky) take(x *exchange, address string) link {
	if k := p.links.take(x, address); k != nil {
		return panickyLink{k, p.in}
	}
	return nil
}

func (p panicky) dial(x *exchange, address string, other func() bool) (link, error) {
	k, err := p.links.dial(x, address, other)
	if err != nil {
		return nil, err
	}
	return panickyLink{k, p.in}, nil
}

type panickyLink struct {
	link
	in string
}

func (k panickyLink) call(method string) {
	if method == k.in {
		panic(private)
	}
}

func (k panickyLink) WriteHead(r *message.Request, end bool) error {
	k.call("WriteHead")
	return k.link.WriteHead(r, end)
}

func (k panickyLink) WriteBody(p []byte, flush bool) error {
	k.call("WriteBody")
	return k.link.WriteBody(p, flush)
}

func (k panickyLink) ReadHead() (*message.Response, error) {
	k.call("ReadHead")
	return k.link.ReadHead()
}

func (k panickyLink) Body() message.Body { return panickyBody{k.link.Body(), k} }

type panickyBody struct {
	message.Body
	k panickyLink
}

func (b panickyBody) Read(p []byte) (int, error) {
	b.k.call("Read")
	return b.Body.Read(p)
}

// breaks has the first pool's links panic in a method.
func breaks(method string) func(*Server) {
	return func(s *Server) {
		f := s.forwarders[0]
		f.links = panicky{f.links, method}
	}
}

// panicked waits for what is written down of a panic.
func (f *front) panicked(in string) {
	f.t.Helper()
	line := f.log.until(f.t, "panic")
	if line["in"].String() != in || !strings.Contains(line["stack"].String(), "panic_test.go") {
		f.t.Errorf("logged %v", line)
	}
	if all := fmt.Sprint(line); strings.Contains(all, private) {
		f.t.Errorf("the log tells what the panic said: %s", all)
	}
	if n := testutil.ToFloat64(f.server.metrics.panics.WithLabelValues(in)); n != 1 {
		f.t.Errorf("%v panics were counted", n)
	}
}

func TestPanic_CostsItsRequestAlone(t *testing.T) {
	for _, tc := range []struct {
		method, in string
		body       string
		status     int64
	}{
		{"WriteHead", inRequest, "", 500},
		{"ReadHead", inRequest, "small", 500},
		{"ReadHead", inRequest, strings.Repeat("x", 1<<20), 500},
		{"Read", inRequest, "", 200},
		{"WriteBody", inUpload, strings.Repeat("x", 1<<20), 500},
	} {
		for _, backend := range []struct {
			name string
			pool func(testing.TB) (*Pool, *backends)
		}{
			{"HTTP/1.1", func(t testing.TB) (*Pool, *backends) { return poolOf(t, backend(t, long)) }},
			{"h2c", func(t testing.TB) (*Pool, *backends) { return h2cPool(t, h2cBackend(t, long)) }},
		} {
			t.Run(fmt.Sprint(tc.method, len(tc.body), backend.name), func(t *testing.T) {
				bothProtocols(t, func(t *testing.T, protocol string) {
					bad, b := backend.pool(t)
					good, _ := backend.pool(t)
					f := serveMade(t, bad, breaks(tc.method), func(c *Config) {
						c.Sites[0].Routes = append(c.Sites[0].Routes, Route{Path: "/good", Pool: good})
					})
					c := f.client(protocol)
					res, err := c.Post(base+"/", "text/plain", strings.NewReader(tc.body))
					switch {
					case tc.status == 200 && err == nil:
						if _, err := io.Copy(io.Discard, res.Body); err == nil {
							t.Error("half an answer was taken for a whole one")
						}
						res.Body.Close()
					case tc.status == 500 && err == nil:
						if body := text(t, res); res.StatusCode != 500 || body != "500 Internal Server Error\n" {
							t.Errorf("%d %q", res.StatusCode, body)
						}
					case tc.status == 200 || tc.body == "":
						t.Error(err)
					}
					f.panicked(tc.in)
					if r := b.next(); r.blamed() {
						t.Errorf("the backend was blamed: %v", r.err)
					}
					if line := f.access.next(t); line["status"].Int64() != tc.status || line["outcome"].String() != errPanicked.outcome {
						t.Errorf("logged %v", line)
					}
					if res, err := c.Get(base + "/good"); err != nil || len(text(t, res)) != 1<<20 {
						t.Errorf("the next request: %v", err)
					}
					f.access.next(t)
				})
			})
		}
	}
}

// long reads a request and gives a long answer.
func long(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Write(make([]byte, 1<<20))
}

func TestPanic_EndsItsTunnelAlone(t *testing.T) {
	for _, method := range []string{"Read", "WriteBody"} {
		t.Run(method, func(t *testing.T) {
			bad, b := poolOf(t, wsEcho(t))
			good, _ := poolOf(t, wsEcho(t))
			f := serveMade(t, bad, breaks(method), func(c *Config) {
				c.Sites[0].Routes = append(c.Sites[0].Routes, Route{Path: "/chat", Pool: good})
			})
			other := f.webSocket()
			c, _, err := websocket.Dial(t.Context(), base, &websocket.DialOptions{HTTPClient: f.client("h1")})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			c.Write(t.Context(), websocket.MessageText, []byte("hello"))
			if _, _, err := c.Read(t.Context()); err == nil {
				t.Error("it works on")
			}
			f.panicked(inTunnel)
			if r := b.next(); r.blamed() {
				t.Errorf("the backend was blamed: %v", r.err)
			}
			if line := f.access.next(t); line["outcome"].String() != errPanicked.outcome {
				t.Errorf("logged %v", line)
			}
			if err := other.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
				t.Error(err)
			}
			if _, p, err := other.Read(t.Context()); string(p) != "hello" {
				t.Error(err)
			}
		})
	}
}

// trap is a listener whose connections panic, once each time that it is set, when
// something has been read or is to be written.
type trap struct {
	net.Listener
	read, write atomic.Bool
}

func (t *trap) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	return &trapped{c, t}, err
}

type trapped struct {
	net.Conn
	of *trap
}

func (c *trapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.of.read.Swap(false) {
		panic(private)
	}
	return n, err
}

func (c *trapped) Write(p []byte) (int, error) {
	if c.of.write.Swap(false) {
		panic(private)
	}
	return c.Conn.Write(p)
}

func serveTrapped(t testing.TB) (*front, *trap) {
	trap := new(trap)
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, func(c *Config) {
		trap.Listener = c.Listeners[0].Listener
		c.Listeners[0].Listener = trap
	})
	return f, trap
}

// serves has the server still do its work.
func (f *front) serves() {
	f.t.Helper()
	if r := await(f.t, "an answer", f.get("h1")); r.err != nil {
		f.t.Errorf("the next connection: %v", r.err)
	}
}

func TestPanic_EndsItsHandshakeAlone(t *testing.T) {
	f, trap := serveTrapped(t)
	trap.read.Store(true)
	if _, err := f.visit(f.tls(www)); err == nil {
		t.Error("a handshake?")
	}
	f.panicked(inHandshake)
	f.serves()
}

func TestPanic_EndsItsConnectionAlone(t *testing.T) {
	t.Run("HTTP/1.1", func(t *testing.T) {
		for _, set := range []func(*trap){(*trap).setRead, (*trap).setWrite} {
			f, trap := serveTrapped(t)
			c := f.dial(www)
			c.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
			text(t, c.answer())
			set(trap)
			c.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
			if err := c.ended(); err == nil && trap.read.Load() {
				t.Error("it ended well")
			}
			line := f.log.until(t, "panic")
			if in := line["in"].String(); in != inConnection && in != inRequest {
				t.Errorf("logged %v", line)
			}
			f.serves()
		}
	})
	t.Run("HTTP/2, reading", func(t *testing.T) {
		f, trap := serveTrapped(t)
		h := f.dialSettled()
		trap.read.Store(true)
		h.WritePing(false, [8]byte{})
		for {
			fr, err := h.ReadFrame()
			if err != nil {
				t.Fatalf("no GOAWAY: %v", err)
			}
			if away, ok := fr.(*http2.GoAwayFrame); ok {
				if away.ErrCode != http2.ErrCodeInternal {
					t.Error(away)
				}
				break
			}
		}
		f.panicked(inConnection)
		f.serves()
	})
	t.Run("HTTP/2, writing", func(t *testing.T) {
		f, trap := serveTrapped(t)
		h := f.dialSettled()
		trap.write.Store(true)
		h.WritePing(false, [8]byte{})
		for err := error(nil); err == nil; {
			_, err = h.ReadFrame()
		}
		f.panicked(inConnection)
		f.serves()
	})
}

// dialSettled is dialHTTP2, and waits until the server has said all that it says unasked.
func (f *front) dialSettled() *http2.Framer {
	f.t.Helper()
	h := f.dialHTTP2()
	for {
		fr, err := h.ReadFrame()
		if err != nil {
			f.t.Fatal(err)
		}
		if s, ok := fr.(*http2.SettingsFrame); ok && s.IsAck() {
			return h
		}
	}
}

func (t *trap) setRead()  { t.read.Store(true) }
func (t *trap) setWrite() { t.write.Store(true) }

func TestPanic_OfADialIsABackendThatCannotBeReached(t *testing.T) {
	pool, b := h2cPool(t, h2cBackend(t, echo))
	pool.Balancer = shaky{b}
	f := serve(t, pool)
	if r := await(t, "an answer", f.get("h1")); r.err != nil || !strings.HasPrefix(r.body, "502") {
		t.Errorf("%+v", r)
	}
	f.panicked(inBackend)
	b.next()
}

// shaky is a Balancer that panics when a backend was reached.
type shaky struct{ *backends }

func (shaky) Reached(string) { panic(private) }

// edgy is a listener whose next Accept panics.
type edgy struct {
	net.Listener
	panics atomic.Bool
}

func (e *edgy) Accept() (net.Conn, error) {
	if e.panics.Swap(false) {
		panic(private)
	}
	return e.Listener.Accept()
}

func TestPanic_DoesNotEndAccepting(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, func(c *Config) {
		e := &edgy{Listener: c.Listeners[0].Listener}
		e.panics.Store(true)
		c.Listeners[0].Listener = e
		c.Listeners[0].MaxConnections = 1 // whose slot must come back
	})
	f.panicked(inAccept)
	f.serves()
}

func TestPanic_CostsAnAcceptedConnectionAlone(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serveMade(t, pool, func(s *Server) {
		s.listeners[0].Name = "\xff" // no label of a metric can be that
	}, func(c *Config) { c.Listeners[0].MaxConnections = 1 })
	for range 3 {
		c, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("it was served")
		}
		if in := f.log.until(t, "panic")["in"].String(); in != inAccept {
			t.Errorf("panic in %s", in)
		}
	}
}

func (p panicky) sweep(now time.Time) {
	if p.in == "sweep" {
		panic(private)
	}
	p.links.sweep(now)
}

func (p panicky) close() {
	p.links.close()
	if p.in == "close" {
		panic(private)
	}
}

// swept is a pool's links that count how often they were swept.
type swept struct {
	links
	times atomic.Int64
}

func (s *swept) sweep(time.Time) { s.times.Add(1) }

func TestPanic_DoesNotEndSweeping(t *testing.T) {
	bad, _ := poolOf(t, backend(t, echo))
	good, _ := poolOf(t, backend(t, echo))
	f := serve(t, bad, func(c *Config) {
		c.Sites[0].Routes = append(c.Sites[0].Routes, Route{Path: "/good", Pool: good})
	})
	s := &Server{log: f.server.log, metrics: f.server.metrics, memory: f.server.memory}
	other := &swept{links: f.server.forwarders[1].links}
	s.forwarders = []*forwarder{{links: panicky{f.server.forwarders[0].links, "sweep"}}, {links: other}}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*tidyEvery+time.Millisecond)
		defer cancel()
		s.sweep(ctx)
	})
	if n := other.times.Load(); n != 2 {
		t.Errorf("the other pool was swept %d times", n)
	}
	f.log.until(t, "panic")
	f.panics(inSweep, 2)
}

func TestPanic_DoesNotEndTheRotationOfTickets(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	good := newTicketKeys(new(tls.Config))
	s := &Server{log: f.server.log, metrics: f.server.metrics, sites: &siteTable{tickets: []*ticketKeys{{config: nil}, good}}}
	first := good.keys[0]
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*ticketRotation+time.Minute)
		defer cancel()
		s.rotateTickets(ctx, ticketRotation)
	})
	if len(good.keys) != 3 || good.keys[2] != first {
		t.Errorf("%d keys of the other site", len(good.keys))
	}
	f.panics(inTickets, 2)
}

// panics is for panics that were waited for.
func (f *front) panics(in string, times float64) {
	f.t.Helper()
	if n := testutil.ToFloat64(f.server.metrics.panics.WithLabelValues(in)); n != times {
		f.t.Errorf("%v panics were counted in %s", n, in)
	}
}

// leaver is a client that panics when it is told of a drain, and has left by then.
type leaver struct {
	of *clients
}

func (l *leaver) Shutdown() {
	l.of.remove(l)
	panic(private)
}

func (l *leaver) Close() error { return nil }

func TestPanic_DoesNotEndTheDrain(t *testing.T) {
	address, arrived, let := held(t)
	pool, _ := poolOf(t, address)
	f := serveMade(t, pool, breaks("close"))
	h1, h2 := f.get("h1"), f.get("h2")
	await(t, "a request", arrived)
	await(t, "a request", arrived)
	f.server.clients.add(&leaver{of: &f.server.clients})
	f.stop()
	f.panicked(inDrain)
	close(let)
	for _, ch := range []<-chan result{h1, h2} {
		if r := await(t, "the response", ch); r.err != nil || r.body != "done" {
			t.Errorf("%q, %v", r.body, r.err)
		}
	}
	f.wait()
	f.log.until(t, "panic")
	if line := f.log.until(t, "drained"); line["requests_cut"].Int64() != 0 {
		t.Errorf("logged %v", line)
	}
	f.panics(inDrain, 2)
}
