package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// wsEcho is a backend that echoes WebSocket messages.
func wsEcho(t testing.TB) string {
	return backend(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 20)
		for {
			kind, p, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, p) != nil {
				return
			}
		}
	})
}

func (f *front) webSocket() *websocket.Conn {
	f.t.Helper()
	c, _, err := websocket.Dial(f.t.Context(), base+"/chat", &websocket.DialOptions{HTTPClient: f.client("h1")})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.CloseNow() })
	return c
}

func TestTunnel_WebSocketEcho(t *testing.T) {
	pool, b := poolOf(t, wsEcho(t))
	f := serve(t, pool)
	c := f.webSocket()
	c.SetReadLimit(1 << 20)
	message := strings.Repeat("x", 100_000)
	for range 5 {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.Read(t.Context()); err != nil || string(p) != message {
			t.Fatalf("%d bytes, %v", len(p), err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	if r := b.next(); r.err != nil {
		t.Errorf("released with %v", r.err)
	}
	line := f.access.next(t)
	if line["status"].Int64() != 101 || line["outcome"].String() != "ok" || line["bytes_in"].Int64() < 500_000 || line["bytes_out"].Int64() < 500_000 {
		t.Errorf("logged %v", line)
	}
}

func TestTunnel_RefusedUpgradeIsAnOrdinaryAnswer(t *testing.T) {
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	f := serve(t, pool)
	_, res, err := websocket.Dial(t.Context(), base+"/", &websocket.DialOptions{HTTPClient: f.client("h1")})
	if err == nil || res.StatusCode != 403 {
		t.Errorf("%v %v", res, err)
	}
}

func TestTunnel_OtherUpgradesAreDropped(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool)
	for _, upgrade := range []string{"h2c", "websocket, h2c", "TLS/1.3", "h2c\nUpgrade: websocket"} {
		c := f.dial(www)
		c.send("GET / HTTP/1.1\nHost: " + www + "\nConnection: Upgrade, HTTP2-Settings\nHttp2-Settings: AAMAAABk\nUpgrade: " + upgrade + "\n\n")
		if res := c.answer(); res.StatusCode != 200 {
			t.Errorf("%s: %d", upgrade, res.StatusCode)
		}
		if h := last().Header; h["Upgrade"] != nil || h["Connection"] != nil || h["Http2-Settings"] != nil {
			t.Errorf("%s: arrived %v", upgrade, h)
		}
		c.Close()
	}
}

func TestTunnel_BackendThatSwitchesUnaskedIs502(t *testing.T) {
	for name, head := range map[string]string{
		"nothing": "", "h2c": "Connection: Upgrade\r\nUpgrade: h2c\r\n", "websocket": "Connection: Upgrade\r\nUpgrade: websocket\r\n",
	} {
		pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n"+head+"\r\nmore")
			io.Copy(io.Discard, c)
		}))
		f := serve(t, pool)
		res, err := f.client("h1").Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != 502 {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
		if r := b.next(); r.err == nil {
			t.Errorf("%s: the backend was not blamed", name)
		}
	}
}

func TestTunnel_IdleOneIsClosed(t *testing.T) {
	pool, b := poolOf(t, wsEcho(t))
	f := serve(t, pool, func(c *Config) { c.Listeners[0].Timeouts.Tunnel = 100 * time.Millisecond })
	c := f.webSocket()
	if _, _, err := c.Read(t.Context()); err == nil {
		t.Error("a message?")
	}
	b.next()
	if line := f.access.next(t); line["outcome"].String() != errTunnelIdle.outcome {
		t.Errorf("logged %v", line)
	}
}

func TestTunnel_ClientsEndReachesTheBackend(t *testing.T) {
	ended := make(chan struct{})
	pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(io.Discard, r)
		io.WriteString(c, "last words")
		close(ended)
	}))
	f := serve(t, pool)
	c := f.dial(www)
	c.send("GET / HTTP/1.1\nHost: " + www + "\nConnection: Upgrade\nUpgrade: websocket\n\n")
	if res := c.answer(); res.StatusCode != 101 {
		t.Fatal(res.StatusCode)
	}
	c.send("first words")
	c.Conn.(interface{ CloseWrite() error }).CloseWrite()
	await(t, "the end at the backend", ended)
	if p, _ := io.ReadAll(c.r); string(p) != "last words" {
		t.Errorf("got %q", p)
	}
	b.next()
	if line := f.access.next(t); line["bytes_in"].Int64() != int64(len("first words")) || line["bytes_out"].Int64() != int64(len("last words")) {
		t.Errorf("logged %v", line)
	}
}
