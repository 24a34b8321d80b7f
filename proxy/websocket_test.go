package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"

	http2codec "sallyport/proxy/http2"
	"sallyport/proxy/message"
)

// h2cBackend is a backend that speaks HTTP/2 without TLS, and nothing else.
func h2cBackend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return l.Addr().String()
}

// wsEchoH2C is wsEcho behind HTTP/2: the library, which speaks HTTP/1.1, is told a
// GET of which the connection can be taken over.
func wsEchoH2C(t testing.TB) string {
	return rawBackend(t, func(c net.Conn) {
		http2codec.NewServerConn(c, http2codec.Config{}, func(x message.Exchange) {
			in := x.Request()
			r := httptest.NewRequest("GET", string(in.Path), nil)
			for _, f := range in.Fields {
				r.Header.Add(string(f.Name), string(f.Value))
			}
			if string(in.Method) != "CONNECT" || string(in.Protocol) != "websocket" || r.Header["Sec-Websocket-Key"] != nil {
				x.WriteHead(&message.Response{Status: 400}, true)
				return
			}
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
			near, far := net.Pipe()
			var wg sync.WaitGroup
			wg.Go(func() {
				defer near.Close()
				echoMessages(&takenOver{x, http.Header{}, near}, r)
			})
			wg.Go(func() {
				pass(far, x.Body())
				far.Close()
			})
			io.Copy(tunnelWriter{x}, far)
			x.End(nil)
			far.Close()
			wg.Wait()
		}).Run()
	})
}

// pass copies a body to its end.
func pass(w io.Writer, body message.Body) {
	b := make([]byte, 4096)
	for {
		n, err := body.Read(b)
		if err != nil {
			return
		}
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
	}
}

type tunnelWriter struct{ x message.Exchange }

func (w tunnelWriter) Write(p []byte) (int, error) { return len(p), w.x.WriteBody(p, true) }

// takenOver is a ResponseWriter whose connection the library takes over.
type takenOver struct {
	x      message.Exchange
	header http.Header
	conn   net.Conn
}

func (w *takenOver) Header() http.Header         { return w.header }
func (w *takenOver) Write(p []byte) (int, error) { return len(p), nil }
func (w *takenOver) WriteHeader(status int) {
	w.x.WriteHead(&message.Response{Status: status, Length: message.Unknown}, false)
}

func (w *takenOver) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// extended is a RoundTripper that opens WebSockets by HTTP/2's extended CONNECT, for a
// library that speaks HTTP/1.1.
type extended struct{ http.RoundTripper }

func (e extended) RoundTrip(r *http.Request) (*http.Response, error) {
	connect := r.Clone(r.Context())
	connect.Method = "CONNECT"
	key := connect.Header.Get("Sec-WebSocket-Key")
	for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Key"} {
		connect.Header.Del(name)
	}
	connect.Header[":protocol"] = []string{"websocket"}
	pr, pw := io.Pipe()
	connect.Body, connect.ContentLength = pr, -1
	res, err := e.RoundTripper.RoundTrip(connect)
	if err != nil || res.StatusCode != http.StatusOK {
		pw.Close()
		return res, err
	}
	res.StatusCode = http.StatusSwitchingProtocols
	res.Header.Set("Connection", "Upgrade")
	res.Header.Set("Upgrade", "websocket")
	res.Header.Set("Sec-WebSocket-Accept", string(acceptOf([]byte(key))))
	res.Body = &duplex{res.Body, pw}
	return res, nil
}

// duplex is a request's body and its answer's.
type duplex struct {
	io.ReadCloser
	w *io.PipeWriter
}

func (d *duplex) Write(p []byte) (int, error) { return d.w.Write(p) }

func (d *duplex) Close() error {
	d.w.Close()
	return d.ReadCloser.Close()
}

// transport is an HTTP/2 client that can be given pseudo-fields.
//
//lint:ignore SA1019 net/http's refuses ":protocol".
func (f *front) transport() *http2.Transport {
	//lint:ignore SA1019 net/http's refuses ":protocol".
	tr := &http2.Transport{DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
		config := f.tls(www)
		config.NextProtos = []string{"h2"}
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", f.addr)
	}}
	//lint:ignore SA1019 As above.
	f.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// webSocketBy dials by either protocol.
func (f *front) webSocketBy(protocol string) (*websocket.Conn, *http.Response, error) {
	c := f.client(protocol)
	if protocol == "h2" {
		c = &http.Client{Transport: extended{f.transport()}}
	}
	return websocket.Dial(f.t.Context(), base+"/chat", &websocket.DialOptions{HTTPClient: c})
}

// everyVersion runs test for each pair of versions that a client and a backend may speak.
func everyVersion(t *testing.T, test func(t *testing.T, client string, pool *Pool, b *backends)) {
	bothProtocols(t, func(t *testing.T, client string) {
		t.Run("http1", func(t *testing.T) {
			pool, b := poolOf(t, wsEcho(t))
			test(t, client, pool, b)
		})
		t.Run("h2c", func(t *testing.T) {
			pool, b := h2cPool(t, wsEchoH2C(t))
			test(t, client, pool, b)
		})
	})
}

func TestWebSocket_EchoBetweenAllVersions(t *testing.T) {
	everyVersion(t, func(t *testing.T, client string, pool *Pool, b *backends) {
		f := serve(t, pool)
		c, _, err := f.webSocketBy(client)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		c.SetReadLimit(2 << 20)
		for _, size := range []int{0, 1, 125, 126, 70_000, 1 << 20} {
			message := strings.Repeat("x", size)
			if err := c.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
				t.Fatal(err)
			}
			if _, p, err := c.Read(t.Context()); err != nil || string(p) != message {
				t.Fatalf("%d bytes: %d, %v", size, len(p), err)
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		if r := b.next(); r.err != nil {
			t.Errorf("released with %v", r.err)
		}
		want := map[string]int64{"h1": 101, "h2": 200}[client]
		if line := f.access.next(t); line["status"].Int64() != want || line["outcome"].String() != "ok" || line["bytes_in"].Int64() < 1<<20 {
			t.Errorf("logged %v", line)
		}
	})
}

func TestWebSocket_IdleOneIsClosed(t *testing.T) {
	everyVersion(t, func(t *testing.T, client string, pool *Pool, b *backends) {
		f := serve(t, pool, timeouts(func(t *Timeouts) { t.Tunnel = short }))
		c, _, err := f.webSocketBy(client)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if _, _, err := c.Read(t.Context()); err == nil {
			t.Error("a message?")
		}
		b.next()
		if line := f.access.next(t); line["outcome"].String() != errTunnelIdle.outcome {
			t.Errorf("logged %v", line)
		}
	})
}

func TestWebSocket_DrainEndsThem(t *testing.T) {
	everyVersion(t, func(t *testing.T, client string, pool *Pool, b *backends) {
		f := serve(t, pool)
		c, _, err := f.webSocketBy(client)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		f.stop()
		if _, _, err := c.Read(t.Context()); err == nil {
			t.Error("a message?")
		}
		f.wait()
		if line := f.log.until(t, "drained"); line["tunnels_cut"].Int64() != 1 || line["requests_cut"].Int64() != 0 {
			t.Errorf("logged %v", line)
		}
	})
}

func TestWebSocket_RefusalIsAnOrdinaryAnswer(t *testing.T) {
	bothProtocols(t, func(t *testing.T, client string) {
		web, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
		h2c, _ := h2cPool(t, rawBackend(t, func(c net.Conn) {
			http2codec.NewServerConn(c, http2codec.Config{}, func(x message.Exchange) { x.WriteHead(&message.Response{Status: 403}, true) }).Run()
		}))
		for _, pool := range []*Pool{web, h2c} {
			if _, res, err := serve(t, pool).webSocketBy(client); err == nil || res == nil || res.StatusCode != 403 {
				t.Errorf("%v %v", res, err)
			}
		}
	})
}

// TestWebSocket_BackendThatDoesNotSwitchIs502 has backends whose answer a client
// of HTTP/2 would take for the tunnel that it asked for.
func TestWebSocket_BackendThatDoesNotSwitchIs502(t *testing.T) {
	for name, answer := range map[string]string{
		"an ordinary answer": "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage",
		"without a key":      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"for another key":    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, answer)
				io.Copy(io.Discard, c)
			}))
			f := serve(t, pool)
			if _, res, err := f.webSocketBy("h2"); err == nil || res == nil || res.StatusCode != 502 {
				t.Errorf("%v %v", res, err)
			}
			b.next()
		})
	}
}

func TestWebSocket_BackendThatMakesNoTunnelsIs502(t *testing.T) {
	bothProtocols(t, func(t *testing.T, client string) {
		address, _ := grpcServer(t, newTestService())
		pool, b := h2cPool(t, address)
		f := serve(t, pool)
		if _, res, err := f.webSocketBy(client); err == nil || res == nil || res.StatusCode != 502 {
			t.Errorf("%v %v", res, err)
		}
		if r := b.next(); r.blamed() {
			t.Errorf("the backend was blamed: %v", r.err)
		}
		if line := f.access.next(t); line["outcome"].String() != errNoTunnel.outcome {
			t.Errorf("logged %v", line)
		}
	})
}

func TestWebSocket_BadKeyIs400(t *testing.T) {
	pool, _ := h2cPool(t, wsEchoH2C(t))
	f := serve(t, pool)
	for _, key := range []string{"", "Sec-WebSocket-Key: short\n", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n"} {
		c := f.dial(www)
		c.send("GET / HTTP/1.1\nHost: " + www + "\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n" + key + "\n")
		if res := c.answer(); res.StatusCode != 400 {
			t.Errorf("%q: %d", key, res.StatusCode)
		}
	}
}

// TestWebSocket_RequestToHTTP1IsWhatRFC6455Wants looks at what a backend gets of an
// extended CONNECT.
func TestWebSocket_RequestToHTTP1IsWhatRFC6455Wants(t *testing.T) {
	got := make(chan *http.Request, 1)
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r
		http.Error(w, "no", http.StatusForbidden)
	}))
	serve(t, pool).webSocketBy("h2")
	r := await(t, "the request", got)
	key := r.Header["Sec-Websocket-Key"]
	if r.Method != "GET" || r.RequestURI != "/chat" || r.Host != www || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" ||
		r.Header.Get("Sec-WebSocket-Version") != "13" || len(key) != 1 || len(key[0]) != 24 || r.ContentLength != 0 || r.TransferEncoding != nil {
		t.Errorf("%s %s: %v", r.Method, r.RequestURI, r.Header)
	}
}

func TestWebSocket_ClientThatLeavesEndsTheBackends(t *testing.T) {
	everyVersion(t, func(t *testing.T, client string, pool *Pool, b *backends) {
		f := serve(t, pool)
		c, _, err := f.webSocketBy(client)
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
		b.next()
		f.access.next(t)
	})
}
