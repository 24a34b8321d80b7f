package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// held is a backend that answers when it is let.
func held(t testing.TB) (address string, arrived, let chan struct{}) {
	arrived, let = make(chan struct{}, 10), make(chan struct{})
	address = backend(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case arrived <- struct{}{}:
		case <-r.Context().Done(): // of more than a test asks for, nobody takes note
			return
		}
		select {
		case <-let:
			io.WriteString(w, "done")
		case <-r.Context().Done():
		}
	})
	return address, arrived, let
}

type result struct {
	body string
	err  error
}

func (f *front) get(protocol string) <-chan result {
	c := f.client(protocol)
	out := make(chan result, 1)
	go func() {
		res, err := c.Get(base + "/")
		if err != nil {
			out <- result{err: err}
			return
		}
		defer res.Body.Close()
		p, err := io.ReadAll(res.Body)
		out <- result{string(p), err}
	}()
	return out
}

func TestDrain_RequestsUnderWayFinish(t *testing.T) {
	address, arrived, let := held(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool)
	h1, h2 := f.get("h1"), f.get("h2")
	await(t, "a request", arrived)
	await(t, "a request", arrived)
	idle := f.dial(www) // has not asked for anything
	f.stop()
	f.log.until(t, "draining")
	if err := idle.ended(); err != nil {
		t.Errorf("the unused connection: %v", err)
	}
	if c, err := net.Dial("tcp", f.addr); err == nil {
		c.Close()
		t.Error("a connection was accepted while draining")
	}
	close(let)
	for _, ch := range []<-chan result{h1, h2} {
		if r := await(t, "the answer", ch); r.err != nil || r.body != "done" {
			t.Errorf("%q, %v", r.body, r.err)
		}
	}
	f.wait()
	line := f.log.until(t, "drained")
	if line["requests_cut"].Int64() != 0 || line["tunnels_cut"].Int64() != 0 {
		t.Errorf("logged %v", line)
	}
}

func TestDrain_TunnelsEndWhenRequestsAreDone(t *testing.T) {
	slow, arrived, let := held(t)
	plain, _ := poolOf(t, slow)
	chat, _ := poolOf(t, wsEcho(t))
	f := serve(t, plain, func(c *Config) {
		c.Sites[0].Routes = append(c.Sites[0].Routes, Route{Path: "/chat", Pool: chat})
	})
	ws := f.webSocket()
	answer := f.get("h2")
	await(t, "the request", arrived)
	f.stop()
	f.log.until(t, "draining")
	// The tunnel works on as long as a request is under way.
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("still here")); err != nil {
		t.Error(err)
	}
	if _, p, err := ws.Read(t.Context()); string(p) != "still here" {
		t.Errorf("%q, %v", p, err)
	}
	close(let)
	if r := await(t, "the answer", answer); r.err != nil {
		t.Error(r.err)
	}
	if _, _, err := ws.Read(t.Context()); err == nil {
		t.Error("a message?")
	}
	f.wait()
	if line := f.log.until(t, "drained"); line["tunnels_cut"].Int64() != 1 || line["requests_cut"].Int64() != 0 {
		t.Errorf("logged %v", line)
	}
	for range 2 {
		if line := f.access.next(t); line["status"].Int64() == 101 && line["outcome"].String() != errCut.outcome {
			t.Errorf("logged %v", line)
		}
	}
}

// Tunnels that share a connection must not hide another one that still works.
func TestDrain_TunnelsOfOneConnectionHideNoOther(t *testing.T) {
	chat, _ := poolOf(t, wsEcho(t))
	plain, _ := poolOf(t, backend(t, echo))
	f := serve(t, plain, func(c *Config) {
		c.Sites[0].Routes = append(c.Sites[0].Routes, Route{Path: "/chat", Pool: chat})
	})
	shared := &http.Client{Transport: extended{f.transport()}}
	var ws [2]*websocket.Conn
	for i := range ws {
		c, _, err := websocket.Dial(t.Context(), base+"/chat", &websocket.DialOptions{HTTPClient: shared})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		ws[i] = c
	}
	late := f.dial(www)
	late.send("GET / HTTP/1.1\n")
	for f.server.clients.count() != 2 {
		time.Sleep(time.Millisecond)
	}
	f.stop()
	f.log.until(t, "draining")
	for end := time.Now().Add(freshGrace); time.Now().Before(end); time.Sleep(freshGrace / 20) {
		if err := ws[0].Write(t.Context(), websocket.MessageText, []byte("still here")); err != nil {
			t.Fatal("the tunnels were cut while a request came")
		}
		if _, _, err := ws[0].Read(t.Context()); err != nil {
			t.Fatal("the tunnels were cut while a request came")
		}
	}
	late.send("Host: " + www + "\n\n")
	if res := late.answer(); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
	f.wait()
	if line := f.log.until(t, "drained"); line["tunnels_cut"].Int64() != 2 || line["requests_cut"].Int64() != 0 {
		t.Errorf("logged %v", line)
	}
}

// A drain that has waited for handshakes must find what has come of them.
func TestDrain_KnowsOfAConnectionWhenItsHandshakeIsDone(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool, func(c *Config) { c.Listeners[0].MaxConnections = 1 })
	for _, protocol := range []string{"http/1.1", "h2"} {
		l, s := f.server.listeners[0], f.server
		here, there := net.Pipe()
		conf := f.tls(www)
		conf.NextProtos = []string{protocol}
		go func() {
			client := tls.Client(there, conf)
			client.Handshake()
			io.Copy(io.Discard, client)
		}()
		c := &conn{Conn: here, listener: l, closed: func() {}}
		c.held.begin(s.memory, netip.Addr{})
		s.handshakes.add()
		if l.handshake(c); s.clients.count() != 1 {
			t.Errorf("%s: %d connections", protocol, s.clients.count())
		}
		there.Close()
		if !s.clients.wait(t.Context()) {
			t.Error("it did not end")
		}
	}
}

func TestDrain_DeadlineCutsWhatIsLeft(t *testing.T) {
	address, arrived, _ := held(t)
	pool, b := poolOf(t, address)
	f := serve(t, pool, func(c *Config) { c.ShutdownTimeout = short })
	h1, h2 := f.get("h1"), f.get("h2")
	await(t, "a request", arrived)
	await(t, "a request", arrived)
	f.stop()
	f.wait()
	for _, ch := range []<-chan result{h1, h2} {
		if r := await(t, "the end", ch); r.err == nil && r.body == "done" {
			t.Error("an answer?")
		}
		if r := b.next(); r.blamed() {
			t.Errorf("the backend was blamed: %v", r.err)
		}
		if line := f.access.next(t); line["outcome"].String() != errCut.outcome {
			t.Errorf("logged %v", line)
		}
	}
	if line := f.log.until(t, "drained"); line["requests_cut"].Int64() != 2 {
		t.Errorf("logged %v", line)
	}
}

func TestDrain_HandshakeThatHangsIsClosed(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool, func(c *Config) { c.ShutdownTimeout = 4 * short })
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for f.server.handshakes.count() == 0 {
		time.Sleep(time.Millisecond)
	}
	f.stop()
	f.wait()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes", n)
	}
}

func TestRun_FailsWhenASocketDoes(t *testing.T) {
	pool, _ := poolOf(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Listeners: []Listener{{Listener: l}}, Sites: []Site{siteOf(t, "www", pool, www)}})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Run(context.Background()); err == nil {
		t.Error("nil")
	}
	if err := s.Run(context.Background()); err == nil {
		t.Error("it ran twice")
	}
}
