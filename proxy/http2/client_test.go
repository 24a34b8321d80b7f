package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// backend is net/http's server for HTTP/2 in cleartext.
func backend(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// connect makes a connection of this package's to an address, that lives as long
// as the test.
func connect(t testing.TB, addr string, cfg Config) *ClientConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClientConn(nc, cfg)
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		c.Run()
	}()
	t.Cleanup(func() {
		c.Close()
		<-ran
	})
	return c
}

func newCall(t testing.TB, c *ClientConn) message.Call {
	t.Helper()
	k, err := c.NewCall()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func head(method, path string) *message.Request {
	return &message.Request{Method: []byte(method), Authority: []byte("backend"), Path: []byte(path), Length: message.Unknown}
}

// answerOf sends a request without a body, and reads the final head.
func answerOf(t testing.TB, k message.Call, r *message.Request) *message.Response {
	t.Helper()
	r.Length = 0
	if err := k.WriteHead(r, true); err != nil {
		t.Fatal(err)
	}
	res, err := k.ReadHead()
	for err == nil && res.Status < 200 {
		res, err = k.ReadHead()
	}
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func value(fields []message.Field, name string) string {
	for _, f := range fields {
		if f.Is(name) {
			return string(f.Value)
		}
	}
	return ""
}

func TestClient_GetsAnAnswer(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("X-Seen", r.Method+" "+r.Host+" "+r.URL.String()+" "+r.Header.Get("X-Sent")+r.Header.Get("Te"))
		io.WriteString(w, "answer")
	})
	c := connect(t, s.Listener.Addr().String(), Config{})
	for range 3 {
		k := newCall(t, c)
		r := head("GET", "/a?b")
		r.Fields = []message.Field{{Name: []byte("X-Sent"), Value: []byte("yes ")}}
		r.Trailers = true
		res := answerOf(t, k, r)
		body, err := io.ReadAll(k.Body())
		if res.Status != 200 || res.Length != 6 || string(body) != "answer" || err != nil {
			t.Errorf("%d, %d bytes: %q, %v", res.Status, res.Length, body, err)
		}
		if got := value(res.Fields, "x-seen"); got != "GET backend /a?b yes trailers" {
			t.Errorf("seen: %q", got)
		}
		k.Close()
	}
}

func TestClient_EchoesBothWaysOnManyCalls(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		http.NewResponseController(w).Flush()
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n, r.Trailer.Get("X-Own")))
	})
	c := connect(t, s.Listener.Addr().String(), Config{})
	var wg sync.WaitGroup
	for i := range 30 {
		k := newCall(t, c)
		wg.Go(func() {
			want := bytes.Repeat([]byte{'y', byte(i)}, 400_000+i)
			if err := k.WriteHead(head("POST", "/"), false); err != nil {
				t.Error(err)
				return
			}
			wg.Go(func() {
				err := k.WriteBody(want, true)
				if err == nil {
					err = k.End([]message.Field{{Name: []byte("x-own"), Value: []byte("t")}})
				}
				if err != nil {
					t.Error(err)
				}
			})
			if _, err := k.ReadHead(); err != nil {
				t.Error(err)
				return
			}
			got, err := io.ReadAll(k.Body())
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d: %d bytes of %d, %v", i, len(got), len(want), err)
			}
			if sum := value(k.Body().Trailers(), "x-sum"); !strings.HasPrefix(sum, fmt.Sprint(len(want))) {
				t.Errorf("%d: trailer %q", i, sum)
			}
		})
	}
	wg.Wait()
}

func TestClient_LargeHeadersBothWays(t *testing.T) {
	large := strings.Repeat("large", 8_000)
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Back", r.Header.Get("X-Large"))
	})
	k := newCall(t, connect(t, s.Listener.Addr().String(), Config{}))
	r := head("GET", "/")
	r.Fields = []message.Field{{Name: []byte("x-large"), Value: []byte(large)}}
	if res := answerOf(t, k, r); value(res.Fields, "x-back") != large {
		t.Errorf("%d, not what was sent", res.Status)
	}
}

func TestClient_HeadHasNoBody(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "answer") })
	k := newCall(t, connect(t, s.Listener.Addr().String(), Config{}))
	res := answerOf(t, k, head("HEAD", "/"))
	if body, err := io.ReadAll(k.Body()); !res.Bodiless || len(body) > 0 || err != nil {
		t.Errorf("%+v, %q, %v", res, body, err)
	}
}

func TestClient_CloseCancels(t *testing.T) {
	cancelled := make(chan struct{})
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(cancelled)
	})
	c := connect(t, s.Listener.Addr().String(), Config{})
	k := newCall(t, c)
	answerOf(t, k, head("GET", "/"))
	read := make(chan error)
	go func() {
		_, err := k.Body().Read(make([]byte, 1))
		read <- err
	}()
	k.Close()
	if err := <-read; !errors.Is(err, ErrOver) {
		t.Errorf("read: %v", err)
	}
	<-cancelled
	if !c.CanTakeCall() {
		t.Error("the connection was closed with the call")
	}
}

func TestClient_ResetsPassWithTheirCode(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	c := connect(t, s.Listener.Addr().String(), Config{})
	f := serve(t, Config{}, func(e message.Exchange) {
		k := newCall(t, c)
		err := k.WriteHead(head("GET", "/"), true)
		if err == nil {
			_, err = k.ReadHead() // the reset may overtake it
		}
		if err == nil {
			_, err = k.Body().Read(make([]byte, 1))
		}
		var reset *ResetError
		if !errors.As(err, &reset) || reset.Code != http2.ErrCodeInternal {
			t.Errorf("read: %v", err)
		}
		ResetLike(e, &ResetError{http2.ErrCodeCancel})
	})
	_, err := transport(t).RoundTrip(request(t, "GET", f.url("/"), nil))
	var se http2.StreamError
	if !errors.As(err, &se) || se.Code != http2.ErrCodeCancel {
		t.Error(err)
	}
}

// rawBackend is a backend played frame by frame. It has greeted, and its next
// frame is read by next.
type rawBackend struct {
	*http2.Framer
	t testing.TB
}

func rawConnect(t testing.TB, cfg Config, settings ...http2.Setting) (*ClientConn, *rawBackend) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := connect(t, l.Addr().String(), cfg)
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if _, err := io.ReadFull(nc, make([]byte, len(http2.ClientPreface))); err != nil {
		t.Fatal(err)
	}
	b := &rawBackend{http2.NewFramer(nc, nc), t}
	b.WriteSettings(settings...)
	b.WriteSettingsAck()
	return c, b
}

// await reads until a frame of a kind.
func (b *rawBackend) await(kind http2.FrameType) http2.Frame {
	b.t.Helper()
	for {
		f, err := b.ReadFrame()
		if err != nil {
			b.t.Fatalf("waiting for %v: %v", kind, err)
		}
		if f.Header().Type == kind {
			return f
		}
	}
}

func TestClient_RespectsMaxConcurrentStreams(t *testing.T) {
	c, _ := rawConnect(t, Config{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
	eventually(t, "settings", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.settled
	})
	a, b := newCall(t, c), newCall(t, c)
	if _, err := c.NewCall(); !errors.Is(err, ErrNoRoom) || c.CanTakeCall() {
		t.Errorf("a third: %v", err)
	}
	a.Close()
	b.Close()
	if !c.CanTakeCall() {
		t.Error("no room after all have gone")
	}
}

func TestClient_CallsAboveGoAwayCanBeMadeAgain(t *testing.T) {
	c, b := rawConnect(t, Config{})
	first, second, third := newCall(t, c), newCall(t, c), newCall(t, c)
	for _, k := range []message.Call{first, second} {
		if err := k.WriteHead(head("GET", "/"), true); err != nil {
			t.Fatal(err)
		}
		b.await(http2.FrameHeaders)
	}
	b.WriteGoAway(1, http2.ErrCodeNo, nil)
	if _, err := second.ReadHead(); !errors.Is(err, ErrUnprocessed) {
		t.Errorf("second: %v", err)
	}
	if err := third.WriteHead(head("GET", "/"), true); !errors.Is(err, ErrUnprocessed) {
		t.Errorf("third: %v", err)
	}
	if c.CanTakeCall() || c.Alive() {
		t.Error("takes calls after GOAWAY")
	}
	b.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
	if res, err := first.ReadHead(); err != nil || res.Status != 200 {
		t.Errorf("first: %v", err)
	}
}

func TestClient_RefusedStreamCanBeMadeAgain(t *testing.T) {
	c, b := rawConnect(t, Config{})
	k := newCall(t, c)
	k.WriteHead(head("GET", "/"), true)
	b.await(http2.FrameHeaders)
	b.WriteRSTStream(1, http2.ErrCodeRefusedStream)
	if _, err := k.ReadHead(); !errors.Is(err, ErrUnprocessed) {
		t.Error(err)
	}
}

func TestClient_WholeAnswerBeforeTheRequestEnds(t *testing.T) {
	c, b := rawConnect(t, Config{})
	k := newCall(t, c)
	k.WriteHead(head("POST", "/"), false)
	b.await(http2.FrameHeaders)
	b.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true})
	b.WriteData(1, true, []byte("early"))
	b.WriteRSTStream(1, http2.ErrCodeNo)
	if _, err := k.ReadHead(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stop", func() bool { return errors.Is(k.WriteBody([]byte("x"), true), ErrStopped) })
	if body, err := io.ReadAll(k.Body()); string(body) != "early" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

func TestClient_AsksASilentBackend(t *testing.T) {
	c, b := rawConnect(t, Config{Ping: 1e7})
	k := newCall(t, c)
	k.WriteHead(head("GET", "/"), true)
	for range 3 { // as long as it answers it may be silent
		ping := b.await(http2.FramePing).(*http2.PingFrame)
		b.WritePing(true, ping.Data)
	}
	_, err := k.ReadHead() // and then it does not
	var timeout interface{ Timeout() bool }
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Error(err)
	}
}

func TestClient_HostileBackends(t *testing.T) {
	for name, attack := range map[string]func(*rawBackend){
		"push": func(b *rawBackend) {
			b.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: []byte{0x82}, EndHeaders: true})
		},
		"stream of its own": func(b *rawBackend) {
			b.WriteHeaders(http2.HeadersFrameParam{StreamID: 2, BlockFragment: []byte{0x88}, EndHeaders: true})
		},
		"data before the head":  func(b *rawBackend) { b.WriteData(1, false, []byte("x")) },
		"no status":             func(b *rawBackend) { b.headers("x: y") },
		"101":                   func(b *rawBackend) { b.headers(":status: 101") },
		"connection field":      func(b *rawBackend) { b.headers(":status: 200", "connection: close") },
		"line break in a value": func(b *rawBackend) { b.headers(":status: 200", "x: a\r\nb: c") },
		"two lengths":           func(b *rawBackend) { b.headers(":status: 200", "content-length: 1", "content-length: 1") },
		"endless 1xx": func(b *rawBackend) {
			for range 50 {
				b.headers(":status: 103")
			}
		},
		"ping flood": func(b *rawBackend) {
			for range 5000 {
				b.WritePing(false, [8]byte{})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, b := rawConnect(t, Config{})
			k := newCall(t, c)
			k.WriteHead(head("GET", "/"), true)
			b.await(http2.FrameHeaders)
			b.AllowIllegalWrites = true
			go attack(b)
			eventually(t, "a broken call", func() bool {
				_, err := k.ReadHead()
				return err != nil
			})
		})
	}
}

// headers writes a section for stream 1, of literal fields "name: value".
func (b *rawBackend) headers(fields ...string) {
	var block []byte
	for _, f := range fields {
		i := strings.Index(f, ": ")
		block = appendField(block, message.Field{Name: []byte(f[:i]), Value: []byte(f[i+2:])})
	}
	b.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
}

func TestClient_TunnelsThroughTheServer(t *testing.T) {
	f := serve(t, Config{}, func(e message.Exchange) {
		if string(e.Request().Protocol) != "websocket" {
			t.Errorf("protocol %q", e.Request().Protocol)
		}
		echo(e)
	})
	k := newCall(t, connect(t, f.Addr().String(), Config{}))
	r := head("GET", "/chat")
	r.Protocol = []byte("websocket")
	if err := k.WriteHead(r, false); err != nil {
		t.Fatal(err)
	}
	if res, err := k.ReadHead(); err != nil || res.Status != 200 {
		t.Fatal(res, err)
	}
	for _, word := range []string{"one", "two", "three"} {
		if err := k.WriteBody([]byte(word), true); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, len(word))
		if _, err := io.ReadFull(k.Body().(io.Reader), buf); err != nil || string(buf) != word {
			t.Errorf("%q, %v", buf, err)
		}
	}
	k.End(nil)
	if _, err := k.Body().Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

func TestClient_NoTunnelWithoutTheSetting(t *testing.T) {
	c, _ := rawConnect(t, Config{})
	r := head("GET", "/")
	r.Protocol = []byte("websocket")
	if err := newCall(t, c).WriteHead(r, false); !errors.Is(err, ErrNoTunnel) {
		t.Error(err)
	}
}

func TestClient_CallThatIsLookedAtGoesOn(t *testing.T) {
	let := make(chan struct{})
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		<-let
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-let
		io.WriteString(w, "done")
	})
	c := connect(t, s.Listener.Addr().String(), Config{Look: time.Millisecond})
	k := newCall(t, c)
	if err := k.WriteHead(head("GET", "/"), true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := k.ReadHead(); err != ErrNothing {
			t.Fatalf("head: %v", err)
		}
	}
	let <- struct{}{}
	_, err := k.ReadHead()
	for err == ErrNothing {
		_, err = k.ReadHead()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	for range 2 {
		if _, err := k.Body().Read(p); err != ErrNothing {
			t.Fatalf("body: %v", err)
		}
	}
	close(let)
	n, err := k.Body().Read(p)
	for err == ErrNothing {
		n, err = k.Body().Read(p)
	}
	if string(p[:n]) != "done" || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
}

func TestClient_SettledSaysWhoSpeaksHTTP2(t *testing.T) {
	h2 := backend(t, func(http.ResponseWriter, *http.Request) {})
	if err := connect(t, h2.Listener.Addr().String(), Config{}).Settled(); err != nil {
		t.Error(err)
	}
	h1 := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(h1.Close)
	if err := connect(t, h1.Listener.Addr().String(), Config{}).Settled(); err == nil {
		t.Error("HTTP/1.1 was taken for HTTP/2")
	}
	silent, _ := net.Pipe()
	c := NewClientConn(silent, Config{})
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		c.Run()
	}()
	c.Close()
	if err := c.Settled(); err == nil {
		t.Error("a closed connection was taken for one")
	}
	silent.Close()
	<-ran
}
