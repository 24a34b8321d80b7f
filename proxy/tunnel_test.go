package proxy

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// wsEcho is a backend that echoes WebSocket messages.
func wsEcho(t testing.TB) string {
	return backend(t, echoMessages)
}

func echoMessages(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(2 << 20)
	for {
		kind, p, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, p) != nil {
			return
		}
	}
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

// connect asks for a tunnel by extended CONNECT, says something, and returns the status
// and what came until the stream ended.
func (f *front) connect(path, words string) (status, got string) {
	f.t.Helper()
	h := f.dialHTTP2()
	h.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, kv := range [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":authority", www}, {":path", path},
		{"sec-websocket-version", "13"},
	} {
		enc.WriteField(hpack.HeaderField{Name: kv[0], Value: kv[1]})
	}
	h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	for {
		fr, err := h.ReadFrame()
		if err != nil {
			f.t.Fatalf("no end before %v", err)
		}
		switch fr := fr.(type) {
		case *http2.MetaHeadersFrame:
			if status = fr.PseudoValue("status"); status == "200" {
				h.WriteData(1, true, []byte(words))
			}
		case *http2.DataFrame:
			got += string(fr.Data())
		}
		if head := fr.Header(); head.StreamID == 1 && (head.Flags.Has(http2.FlagDataEndStream) || head.Type == http2.FrameRSTStream) {
			return status, got
		}
	}
}

func TestTunnel_WebSocketOverHTTP2(t *testing.T) {
	asked := make(chan *http.Request, 1)
	pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if r.URL.Path == "/page" {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\na page")
			return
		}
		asked <- r
		accept := acceptOf([]byte(r.Header.Get("Sec-WebSocket-Key")))
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept)
		io.Copy(c, in)
	}))
	f := serve(t, pool)
	if status, got := f.connect("/chat", "hello"); status != "200" || got != "hello" {
		t.Errorf("%s, %q", status, got)
	}
	r := await(t, "the backend's request", asked)
	key, _ := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	if r.Method != "GET" || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Version") != "13" || len(key) != 16 {
		t.Errorf("the backend got %s %v", r.Method, r.Header)
	}
	if status, _ := f.connect("/page", ""); status != "502" {
		t.Errorf("a page as a tunnel: %s", status)
	}
	for range 2 {
		if r := b.next(); r.err != nil {
			t.Errorf("released with %v", r.err)
		}
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
