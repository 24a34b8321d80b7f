package proxy

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/proxy/message"
)

// seen starts a backend that keeps the last request's head.
func seen(t testing.TB) (address string, last func() *http.Request) {
	requests := make(chan *http.Request, 100)
	address = backend(t, func(_ http.ResponseWriter, r *http.Request) { requests <- r })
	return address, func() *http.Request { return await(t, "the backend's request", requests) }
}

func TestForward_TargetAndHostGoAsTheyCame(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool)
	c := f.dial(www)
	for _, target := range []string{"/", "/a%2Fb%7e?x=1;y=%zz&", "/a?", "/a|b", "//x//y?q", "/%E4", "/a;p=1/b"} {
		c.send("GET " + target + " HTTP/1.1\nHost: " + www + ":8443\n\n")
		if res := c.answer(); res.StatusCode != 200 {
			t.Errorf("%s: %d", target, res.StatusCode)
			continue
		}
		r := last()
		if r.RequestURI != target || r.Host != www+":8443" {
			t.Errorf("%s arrived as %s for %s", target, r.RequestURI, r.Host)
		}
	}
	c.send("GET " + base + "/abs?x HTTP/1.1\nHost: " + www + "\n\n")
	c.answer()
	if r := last(); r.RequestURI != "/abs?x" {
		t.Errorf("absolute-form arrived as %s", r.RequestURI)
	}
	c.send("OPTIONS * HTTP/1.1\nHost: " + www + "\n\n")
	c.answer()
	if res, err := http.DefaultTransport.(*http.Transport).Clone().RoundTrip(httptest.NewRequest("GET", "http://"+address+"/probe", nil)); err == nil {
		res.Body.Close()
	}
	// net/http's backend answers OPTIONS * by itself, so only the probe is seen.
	if r := last(); r.RequestURI != "/probe" {
		t.Errorf("saw %s", r.RequestURI)
	}
}

func TestForward_RefusesWhatHasNoPlace(t *testing.T) {
	pool, b := poolOf(t, backend(t, echo))
	f := serve(t, pool, func(c *Config) { c.Sites[0].Routes[0].Path = "/app" })
	for _, c := range []struct {
		line string
		want int
	}{
		{"GET /app/x", 200},
		{"GET /other", 404},
		{"GET /appx", 404},
		{"GET /app/../admin", 400},
		{"GET /app/%2e%2e/admin", 400},
		{`GET /app\..\admin`, 400},
		{"TRACE /app", 405},
		{"CONNECT " + www + ":443", 405},
		{"GET *", 400},
	} {
		conn := f.dial(www)
		host := www
		if strings.HasPrefix(c.line, "CONNECT") {
			host += ":443"
		}
		conn.send(c.line + " HTTP/1.1\nHost: " + host + "\n\n")
		res := conn.answer()
		if res.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.line, res.StatusCode, c.want)
		}
		if c.want == 405 && res.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", c.line)
		}
		if line := f.access.next(t); int(line["status"].Int64()) != c.want {
			t.Errorf("%s: logged %v", c.line, line)
		}
		conn.Close()
	}
	if b.next(); len(b.released) != 0 {
		t.Error("a refused request reached the backend")
	}
}

func TestForward_HopByHopFieldsEndHere(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool)
	c := f.dial(www)
	c.send("GET / HTTP/1.1\nHost: " + www + `
Connection: X-Private, keep-alive, X-Forwarded-For
X-Private: 1
Keep-Alive: timeout=5
Proxy-Authorization: x
Te: trailers, deflate
Upgrade: h2c
Http2-Settings: AAMAAABkAARAAAAAAAIAAAAA
X-End-To-End: 1

`)
	if res := c.answer(); res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	h := last().Header
	for _, name := range []string{"X-Private", "Keep-Alive", "Proxy-Authorization", "Upgrade", "Http2-Settings", "User-Agent", "Accept-Encoding"} {
		if v, ok := h[name]; ok {
			t.Errorf("%s arrived: %q", name, v)
		}
	}
	if h.Get("Te") != "trailers" || h.Get("Connection") != "TE" || h.Get("X-End-To-End") != "1" || h.Get("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("arrived: %v", h)
	}
}

func TestForward_ClaimsOfStrangersAreDropped(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	claims := http.Header{
		"X-Forwarded-For": {"203.0.113.9", "203.0.113.10"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"evil.example"},
		"Forwarded": {"for=203.0.113.9"}, "X-Real-Ip": {"203.0.113.9"}, "X-Forwarded-Port": {"80"},
		"X_forwarded_for": {"203.0.113.9"},
	}
	for name, c := range map[string]struct {
		trusted []netip.Prefix
		want    http.Header
		client  string
	}{
		"stranger": {nil, http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {www},
			"Forwarded": {"for=127.0.0.1;host=" + www + ";proto=https"},
		}, "127.0.0.1"},
		"trusted": {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("203.0.113.10/32")}, http.Header{
			"X-Forwarded-For": {"203.0.113.9, 203.0.113.10, 127.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"evil.example"},
			"Forwarded": {"for=203.0.113.9, for=127.0.0.1;host=" + www + ";proto=https"},
			"X-Real-Ip": {"203.0.113.9"}, "X-Forwarded-Port": {"80"},
		}, "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, pool, func(cfg *Config) {
				cfg.Listeners[0].TrustedProxies = c.trusted
				cfg.Listeners[0].Underscores = true
			})
			r, _ := http.NewRequest("GET", base+"/", nil)
			r.Header = claims.Clone()
			res, err := f.client("h2").Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			got := last().Header
			for _, own := range []string{"User-Agent", "Accept-Encoding", "X-Request-Id", "Via"} {
				got.Del(own)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if line := f.access.next(t); line["client"].String() != c.client {
				t.Errorf("logged client %v", line["client"])
			}
		})
	}
}

func TestForwarded_Element(t *testing.T) {
	for _, c := range []struct{ peer, host, want string }{
		{"192.0.2.1", "a.b", "for=192.0.2.1;host=a.b;proto=https"},
		{"2001:db8::1", "a.b:8443", `for="[2001:db8::1]";host="a.b:8443";proto=https`},
		{"::1", "[::1]", `for="[::1]";host="[::1]";proto=https`},
	} {
		from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.peer), 1))
		x := new(exchange)
		x.conn = &conn{peer: newPeer(new(listener), from)}
		x.in = &message.Request{Authority: []byte(c.host)}
		if got := string(x.forwardedElement()); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestForward_AnswerIsNotTouched(t *testing.T) {
	pool, _ := poolOf(t, rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 Fine\r\nContent-Length: 6\r\nServer: old\r\nX-Two: a\r\nX-Two: b\r\n\r\n<html>")
	}))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		res, err := f.client(protocol).Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		if body := text(t, res); body != "<html>" || res.ContentLength != 6 {
			t.Errorf("body %q, length %d", body, res.ContentLength)
		}
		if _, err := http.ParseTime(res.Header.Get("Date")); err != nil {
			t.Error(err) // a server with a clock owes it
		}
		res.Header.Del("Date")
		res.Header.Del("X-Request-Id")
		res.Header.Del("Via")
		want := http.Header{"Content-Length": {"6"}, "Server": {"old"}, "X-Two": {"a", "b"}}
		if diff := cmp.Diff(want, res.Header); diff != "" {
			t.Error(diff)
		}
	})
}

func TestForward_HeadAndBodylessAnswers(t *testing.T) {
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(304)
		default:
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
		}
	}))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		for path, want := range map[string]int{"/204": 204, "/304": 304, "/": 200} {
			r, _ := http.NewRequest("HEAD", base+path, nil)
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if body := text(t, res); res.StatusCode != want || body != "" || path == "/" && res.ContentLength != 5 {
				t.Errorf("HEAD %s: %d %q %d", path, res.StatusCode, body, res.ContentLength)
			}
		}
	})
}

func TestForward_TrailersBothWays(t *testing.T) {
	got := make(chan http.Header, 2)
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		io.Copy(w, r.Body)
		got <- r.Trailer
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	}))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		r, _ := http.NewRequest("POST", base+"/", io.NopCloser(strings.NewReader("body")))
		r.Trailer = http.Header{"X-Sum": {"42"}}
		res, err := f.client(protocol).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if body := text(t, res); body != "body" {
			t.Errorf("body %q", body)
		}
		if h := await(t, "the request's trailer", got); h.Get("X-Sum") != "42" {
			t.Errorf("backend got %v", h)
		}
		want := http.Header{"X-Announced": {"1"}, "X-Late": {"2"}}
		if diff := cmp.Diff(want, res.Trailer); diff != "" {
			t.Error(diff)
		}
	})
}

func TestForward_ClaimsInTrailersAreDropped(t *testing.T) {
	got := make(chan http.Header, 1)
	pool, _ := poolOf(t, backend(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	}))
	f := serve(t, pool)
	for protocol, claims := range map[string]http.Header{
		"h1": {"X-Real-Ip": {"203.0.113.9"}, "X-Forwarded-Port": {"80"}},
		"h2": {"X-Real-Ip": {"203.0.113.9"}, "X-Forwarded-For": {"203.0.113.9"}, "Forwarded": {"for=203.0.113.9"}},
	} {
		r, _ := http.NewRequest("POST", base+"/", io.NopCloser(strings.NewReader("body")))
		r.Trailer = claims.Clone()
		r.Trailer.Set("X-Sum", "42")
		res, err := f.client(protocol).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		trailer := await(t, "the trailer", got)
		if trailer.Get("X-Sum") != "42" {
			t.Errorf("%s: arrived %v", protocol, trailer)
		}
		for name := range claims {
			if v := trailer.Get(name); v != "" {
				t.Errorf("%s: %s arrived: %q", protocol, name, v)
			}
		}
	}
}

func TestForward_ContinueComesFromTheBackend(t *testing.T) {
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(403)
			return
		}
		echo(w, r)
	}))
	f := serve(t, pool)
	c := f.dial(www)
	head := func(path string) string {
		return "POST " + path + " HTTP/1.1\nHost: " + www + "\nContent-Length: 5\nExpect: 100-continue\n\n"
	}
	c.send(head("/yes"))
	if res := c.answer(); res.StatusCode != 100 {
		t.Fatalf("got %d, want 100", res.StatusCode)
	}
	c.send("hello")
	if res := c.answer(); res.StatusCode != 200 || text(t, res) != "hello" {
		t.Errorf("%d", res.StatusCode)
	}
	c.send(head("/no"))
	if res := c.answer(); res.StatusCode != 403 {
		t.Errorf("got %d before the body, want 403", res.StatusCode)
	}
}

func TestForward_EarlyHintsPass(t *testing.T) {
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(103)
		w.Header().Del("Link")
		io.WriteString(w, "done")
	}))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		var hints []string
		r, _ := http.NewRequest("GET", base+"/", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, h.Get("Link")))
				return nil
			},
		}))
		res, err := f.client(protocol).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if body := text(t, res); body != "done" || len(hints) != 1 || hints[0] != "103</a.css>; rel=preload" {
			t.Errorf("%q, hints %v", body, hints)
		}
	})
}

// zeroes is a reader of n bytes that are made as they are read.
func zeroes(n int64) io.Reader { return io.LimitReader(neverEnding{}, n) }

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestForward_LargeBodiesStreamBothWays(t *testing.T) {
	const size = 24 << 20
	pool, b := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	want := sha256.New()
	io.Copy(want, zeroes(size))
	bothProtocols(t, func(t *testing.T, protocol string) {
		r, _ := http.NewRequest("POST", base+"/", io.NopCloser(zeroes(size)))
		res, err := f.client(protocol).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got := sha256.New()
		if n, err := io.Copy(got, res.Body); n != size || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if string(got.Sum(nil)) != string(want.Sum(nil)) {
			t.Error("the body changed on its way")
		}
		line := f.access.next(t)
		if line["bytes_in"].Int64() != size || line["bytes_out"].Int64() != size || line["outcome"].String() != "ok" {
			t.Errorf("logged %v", line)
		}
		if r := b.next(); r.err != nil {
			t.Errorf("released with %v", r.err)
		}
	})
}

func TestForward_EachPieceGoesAtOnce(t *testing.T) {
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		// Full duplex: each line is answered before the next is sent.
		http.NewResponseController(w).EnableFullDuplex()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			io.WriteString(w, "got "+line)
			http.NewResponseController(w).Flush()
		}
	}))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		pr, pw := io.Pipe()
		go io.WriteString(pw, "one\n")
		res, err := f.client(protocol).Post(base+"/", "text/plain", pr)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		in := bufio.NewReader(res.Body)
		for _, word := range []string{"one", "two", "three"} {
			if word != "one" {
				io.WriteString(pw, word+"\n")
			}
			if line, err := in.ReadString('\n'); line != "got "+word+"\n" {
				t.Fatalf("got %q, %v", line, err)
			}
		}
		pw.Close()
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("end: %v", err)
		}
	})
}

func TestForward_ClientsBrokenBodyIsNotTheBackendsFault(t *testing.T) {
	pool, b := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	c := f.dial(www)
	c.send("POST / HTTP/1.1\nHost: " + www + "\nTransfer-Encoding: chunked\n\nnot a size\n")
	if res := c.answer(); res.StatusCode != 400 {
		t.Errorf("got %d", res.StatusCode)
	}
	if err := c.ended(); err != nil {
		t.Errorf("the connection did not end: %v", err)
	}
	if r := b.next(); r.blamed() {
		t.Errorf("the backend was blamed: %v", r.err)
	}
	if line := f.access.next(t); line["outcome"].String() != "client broke its body" || line["status"].Int64() != 400 {
		t.Errorf("logged %v", line)
	}
}

func TestForward_ClientGoneIsNotTheBackendsFault(t *testing.T) {
	arrived, leave := make(chan struct{}, 2), make(chan struct{})
	pool, b := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-leave:
		}
	}))
	defer close(leave)
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		done := make(chan error, 1)
		r, _ := http.NewRequest("GET", base+"/", nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := c.Do(r.WithContext(ctx)); done <- err }()
		await(t, "the request", arrived)
		cancel()
		if err := await(t, "the client's end", done); err == nil {
			t.Error("an answer?")
		}
		if r := b.next(); r.blamed() {
			t.Errorf("the backend was blamed: %v", r.err)
		}
		if line := f.access.next(t); line["status"].Int64() != 499 || line["outcome"].String() != "client gone" {
			t.Errorf("logged %v", line)
		}
	})
}

func TestForward_ClientThatLeavesWithinTheAnswerReleases(t *testing.T) {
	pool, b := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, zeroes(64<<20)) }))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		res, err := f.client(protocol).Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		io.CopyN(io.Discard, res.Body, 1000)
		res.Body.Close()
		if r := b.next(); r.blamed() {
			t.Errorf("the backend was blamed: %v", r.err)
		}
		if line := f.access.next(t); line["status"].Int64() != 200 || line["outcome"].String() != "client gone" {
			t.Errorf("logged %v", line)
		}
	})
}

func TestForward_BrokenAnswerAbortsTheClient(t *testing.T) {
	for name, head := range map[string]string{
		"length":  "Content-Length: 100\r\n\r\nhalf",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head)
			}))
			f := serve(t, pool)
			bothProtocols(t, func(t *testing.T, protocol string) {
				res, err := f.client(protocol).Get(base + "/")
				if err == nil {
					_, err = io.ReadAll(res.Body)
					res.Body.Close()
				}
				if err == nil {
					t.Error("half an answer was taken for a whole one")
				}
				if r := b.next(); !errors.Is(r.err, errBackendBroken) {
					t.Errorf("released with %v", r.err)
				}
				if line := f.access.next(t); line["outcome"].String() != errBackendBroken.outcome || line["status"].Int64() != 200 {
					t.Errorf("logged %v", line)
				}
			})
		})
	}
}

func TestForward_GarbageFromTheBackendIs502(t *testing.T) {
	pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n")
	}))
	f := serve(t, pool)
	res, err := f.client("h1").Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	if body := text(t, res); res.StatusCode != 502 || body != "502 Bad Gateway\n" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if r := b.next(); r.err == nil {
		t.Error("the backend was not blamed")
	}
}

func TestMetrics_CountRequests(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	c := f.client("h2")
	for _, method := range []string{"GET", "GET", "BREW"} {
		r, _ := http.NewRequest(method, base+"/secret?token=1", nil)
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		line := f.access.next(t)
		if line["path"].String() != "/secret" || line["site"].String() != "www" || line["route"].String() != "/" || line["pool"].String() != "web" ||
			line["protocol"].String() != "HTTP/2.0" || line["tries"].Int64() != 1 || line["listener"].String() != f.addr {
			t.Errorf("logged %v", line)
		}
	}
	want := `
# HELP sallyport_requests_total Requests that are over, tunnels included.
# TYPE sallyport_requests_total counter
sallyport_requests_total{code="200",method="GET",pool="web",protocol="2",site="www"} 2
sallyport_requests_total{code="200",method="OTHER",pool="web",protocol="2",site="www"} 1
`
	if err := testutil.GatherAndCompare(f.metrics, strings.NewReader(want), "sallyport_requests_total"); err != nil {
		t.Error(err)
	}
}
