package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// redirecting is a front whose listener redirects.
func redirecting(t testing.TB, r Redirect, edit ...func(*Config)) *front {
	pool, _ := poolOf(t, refused(t))
	return serve(t, pool, append(edit, func(c *Config) {
		c.Sites[0].Hosts = append(c.Sites[0].Hosts, "*.sites.example.org", "192.0.2.1", "2001:db8::1")
		c.Sites[0].HSTS = &HSTS{MaxAge: time.Hour}
		c.Listeners[0].Redirect = &r
	})...)
}

// dialPlain opens a connection without TLS.
func (f *front) dialPlain() *raw {
	f.t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &raw{f.t, c, bufio.NewReader(c)}
}

func TestRedirect_LeadsToTheSameOnHTTPS(t *testing.T) {
	f := redirecting(t, Redirect{})
	conn := f.dialPlain()
	for _, c := range []struct {
		request, host string
		status        int
		location      string
	}{
		{"GET /", www, 308, "https://" + www + "/"},
		{"HEAD /a?b=c&d", www, 308, "https://" + www + "/a?b=c&d"},
		{"PURGE /a%2Fb//c", www + ":80", 308, "https://" + www + "/a%2Fb//c"},
		{"GET //evil.example/x", www, 308, "https://" + www + "//evil.example/x"},
		{"GET http://" + www + "/abs", www, 308, "https://" + www + "/abs"},
		{"GET /.well-known/acme-challenge/x", "a.sites.example.org", 308, "https://a.sites.example.org/.well-known/acme-challenge/x"},
		{"GET /", "192.0.2.1:8080", 308, "https://192.0.2.1/"},
		{"GET /", "[2001:db8::1]", 308, "https://[2001:db8::1]/"},
		{"GET /", "evil.example", 421, ""},
		{"GET /", "sites.example.org", 421, ""},
		{"GET /", "a.b.sites.example.org", 421, ""},
		{"OPTIONS *", www, 404, ""},
		{"TRACE /", www, 405, ""},
	} {
		conn.send(c.request + " HTTP/1.1\nHost: " + c.host + "\n\n")
		r, _ := http.NewRequest(strings.Fields(c.request)[0], "/", nil)
		res, err := http.ReadResponse(conn.r, r)
		if err != nil {
			t.Fatalf("%s: %v", c.request, err)
		}
		text(t, res)
		if res.StatusCode != c.status || res.Header.Get("Location") != c.location {
			t.Errorf("%s at %s: %d to %q", c.request, c.host, res.StatusCode, res.Header.Get("Location"))
		}
		if res.Header.Get("Strict-Transport-Security") != "" || res.Header.Get("Date") == "" || res.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s at %s: %v", c.request, c.host, res.Header)
		}
		line := f.access.next(t)
		if site := line["site"].String(); int(line["status"].Int64()) != c.status || (site == "www") != (c.status == 308 || c.status == 404) || line["tls"].String() != "" {
			t.Errorf("%s at %s: logged %v", c.request, c.host, line)
		}
	}
	if n := testutil.ToFloat64(f.server.metrics.requests.WithLabelValues("www", "", "GET", "308", "1.1")); n != 6 {
		t.Errorf("%v redirects counted", n)
	}
	if n := testutil.CollectAndCount(f.server.metrics.handshakes); n != 0 {
		t.Errorf("%d kinds of handshakes counted", n)
	}
}

func TestRedirect_PortAndStatus(t *testing.T) {
	for status, want := range map[int]int{0: 308, 301: 301, 302: 302, 307: 307, 308: 308} {
		f := redirecting(t, Redirect{Port: 8443, Status: status})
		conn := f.dialPlain()
		conn.send("POST /a HTTP/1.1\nHost: " + www + ":8080\nContent-Length: 5\n\nhello")
		res := conn.answer()
		if got := res.Header.Get("Location"); res.StatusCode != want || got != "https://"+www+":8443/a" || res.ContentLength != 0 {
			t.Errorf("%d: %d to %s", status, res.StatusCode, got)
		}
		conn.send("GET / HTTP/1.1\nHost: " + www + "\n\n") // its body is no request
		if res := conn.answer(); res.StatusCode != want {
			t.Errorf("%d: then %d", status, res.StatusCode)
		}
	}
}

// An https URI is nothing that plain HTTP may ask for (RFC 9110 §7.4).
func TestRedirect_TargetOfHTTPSIsMisdirected(t *testing.T) {
	f := redirecting(t, Redirect{})
	conn := f.dialPlain()
	conn.send("GET https://" + www + "/abs HTTP/1.1\nHost: " + www + "\n\n")
	if res := conn.answer(); res.StatusCode != 421 || res.Header.Get("Location") != "" {
		t.Errorf("%d, %v", res.StatusCode, res.Header)
	}
}

// Whoever answers 400 closes, and its client sees the answer.
func TestRedirect_WhatIsMalformedIsRefused(t *testing.T) {
	f := redirecting(t, Redirect{})
	for _, request := range []string{
		"GET / HTTP/1.1\n\n",
		"GET / HTTP/1.1\nHost: a b\n\n",
		"GET / HTTP/1.1\nHost: " + www + "\nHost: " + www + "\n\n",
		"GET http://evil.example/ HTTP/1.1\nHost: " + www + "\n\n",
		"GET / HTTP/1.1\nHost: user@" + www + "\n\n",
		"GET / HTTP/1.1\nHost: " + www + "\nX: a\n b\n\n",
		"GET /\x01 HTTP/1.1\nHost: " + www + "\n\n",
		"GET / HTTP/1.0\n\n",
		"\x16\x03\x01\x00\x05hello\n\n",
	} {
		conn := f.dialPlain()
		conn.send(request)
		if res := conn.answer(); res.StatusCode != 400 || res.Header.Get("Location") != "" {
			t.Errorf("%q: %d, %v", request, res.StatusCode, res.Header)
		}
		if line := f.access.next(t); line["status"].Int64() != 400 {
			t.Errorf("%q: logged %v", request, line)
		}
	}
}

func TestRedirect_HoldsToItsLimits(t *testing.T) {
	f := redirecting(t, Redirect{}, func(c *Config) {
		c.Listeners[0].MaxConnections = 1
		c.Listeners[0].Timeouts.Header = 300 * time.Millisecond
	})
	slow, next := f.dialPlain(), f.dialPlain()
	slow.send("GET / HTTP/1.1\nHost: ")
	next.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
	if res := slow.answer(); res.StatusCode != 408 {
		t.Errorf("a slow head: %d", res.StatusCode)
	}
	if err := slow.ended(); err != nil {
		t.Error(err)
	}
	if res := next.answer(); res.StatusCode != 308 {
		t.Errorf("the one that waited for its place: %d", res.StatusCode)
	}
}

func TestRedirect_BehindABalancer(t *testing.T) {
	f := redirecting(t, Redirect{}, introducing(loopback))
	conn := f.dialPlain()
	// All in one piece, as a client behind a balancer sends it.
	conn.send("PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\nGET /1 HTTP/1.1\nHost: " + www + "\n\nGET /2 HTTP/1.1\nHost: " + www + "\nConnection: close\n\n")
	for _, path := range []string{"/1", "/2"} {
		if got := conn.answer().Header.Get("Location"); got != base+path {
			t.Errorf("led to %s", got)
		}
		if got := f.access.next(t)["client"].String(); got != "192.0.2.7" {
			t.Errorf("logged %s", got)
		}
	}
	if err := conn.ended(); err != nil {
		t.Error(err)
	}
	direct := f.dialPlain()
	direct.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
	if b, err := io.ReadAll(direct); len(b) > 0 {
		t.Errorf("answered without a header: %q, %v", b, err)
	}
}

func TestRedirect_DrainsWithTheRest(t *testing.T) {
	f := redirecting(t, Redirect{})
	conn := f.dialPlain()
	conn.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
	conn.answer()
	f.stop()
	if err := conn.ended(); err != nil {
		t.Error(err)
	}
	f.wait()
}

func TestRedirect_OfNoKnownKindIsRefused(t *testing.T) {
	for _, r := range []Redirect{{Port: -1}, {Port: 65536}, {Status: 303}, {Status: 200}} {
		if _, err := New(Config{Listeners: []Listener{{Redirect: &r}}}); err == nil || !strings.Contains(err.Error(), "a redirect ") {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
