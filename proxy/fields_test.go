package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func trustLoopback(c *Config) {
	c.Listeners[0].TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// withoutOurs returns a copy of a header that lacks what every request has.
func withoutOurs(h http.Header, names ...string) http.Header {
	h = h.Clone()
	for _, name := range append(names, "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Request-Id", "Via") {
		h.Del(name)
	}
	return h
}

// A client cannot have taken away what a proxy in front has set, by naming it in Connection,
// nor what the request's treatment rests on.
func TestConnection_NamesDoNotTakeAwayWhatIsEndToEnd(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	const names = "authorization, cookie, x-forwarded-for, forwarded, x-real-ip, x-request-id, content-type, via, cache-control, x-ssl-client-cn"
	send := func(f *front) *http.Request {
		c := f.dial(www)
		c.send("GET / HTTP/1.1\nHost: " + www + "\nConnection: " + names + "\nConnection: x-hop, x-set-in-front, close\nAuthorization: a\nCookie: b=c\nContent-Type: d\n" +
			"Cache-Control: e\nX-SSL-Client-CN: f\nX-Forwarded-For: 203.0.113.9\nForwarded: for=203.0.113.9\nX-Request-ID: g\nVia: 1.1 h\nX-Hop: i\nX-Set-In-Front: j\n\n")
		if res := c.answer(); res.StatusCode != 200 {
			t.Fatalf("status %d", res.StatusCode)
		}
		return last()
	}
	stays := http.Header{"Authorization": {"a"}, "Cookie": {"b=c"}, "Content-Type": {"d"}, "Cache-Control": {"e"}, "X-Ssl-Client-Cn": {"f"}}
	got := send(serve(t, pool)).Header
	if diff := cmp.Diff(stays, withoutOurs(got)); diff != "" {
		t.Errorf("of a stranger: %s", diff)
	}
	if got.Get("X-Forwarded-For") != "127.0.0.1" || !strings.HasPrefix(got.Get("Via"), "1.1 h") {
		t.Errorf("of a stranger: %v", got)
	}
	got = send(serve(t, pool, trustLoopback)).Header
	stays["X-Hop"], stays["X-Set-In-Front"] = []string{"i"}, []string{"j"}
	if diff := cmp.Diff(stays, withoutOurs(got)); diff != "" {
		t.Errorf("of a trusted proxy: %s", diff)
	}
	if got.Get("X-Forwarded-For") != "203.0.113.9, 127.0.0.1" || got.Get("X-Request-Id") != "g" || !strings.HasPrefix(got.Get("Forwarded"), "for=203.0.113.9, ") {
		t.Errorf("of a trusted proxy: %v", got)
	}
}

func TestConnection_OfABackendTakesAwayWhatIsItsOwn(t *testing.T) {
	pool, _ := poolOf(t, answering(t, "HTTP/1.1 200 OK\r\nConnection: set-cookie, x-hop, content-security-policy\r\nX-Hop: 1\r\nSet-Cookie: a=b\r\nContent-Security-Policy: x\r\nContent-Length: 0\r\n\r\n"))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		want := http.Header{"Set-Cookie": {"a=b"}, "Content-Security-Policy": {"x"}, "Content-Length": {"0"}}
		if diff := cmp.Diff(want, withoutOurs(f.fetch(protocol, "/").Header, "Date")); diff != "" {
			t.Error(diff)
		}
	})
}

// Trailers obey the edits that fields obey, and those that belong to a head do not pass.
func TestTrailers_OnlyThoseThatMayBeThere(t *testing.T) {
	never := []string{"Authorization", "Cookie", "Set-Cookie", "Content-Type", "Content-Encoding", "Content-Range", "Cache-Control", "X-Forwarded-For",
		"X-Real-Ip", "Via", "Range", "If-Match", "Location", "Www-Authenticate", "Max-Forwards", "Proxy", "X-Request-Id", "Access-Control-Allow-Origin"}
	kept := http.Header{"Content-Digest": {"x"}, "Grpc-Status": {"0"}, "Server-Timing": {"y"}, "Etag": {"z"}, "Authentication-Info": {"w"}}
	all := kept.Clone()
	for _, name := range append(never, "X-Removed", "X-Set") {
		all.Set(name, "evil")
	}
	got := make(chan *http.Request, 1)
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- r
		for name, values := range all {
			w.Header()[http.TrailerPrefix+name] = values
		}
		io.WriteString(w, "body")
	}))
	edits := FieldEdits{Remove: []string{"x-removed"}, Set: []Field{{"X-Set", "ours"}}}
	f := serve(t, pool, func(c *Config) {
		r := &c.Sites[0].Routes[0]
		r.RequestFields, r.ResponseFields = edits, edits
	})
	bothProtocols(t, func(t *testing.T, protocol string) {
		r, _ := http.NewRequest("POST", base+"/", io.NopCloser(strings.NewReader("body")))
		r.ContentLength, r.Trailer = -1, all.Clone()
		for _, name := range []string{"Trailer", "Content-Length", "Transfer-Encoding"} {
			r.Trailer.Del(name)
		}
		r.Header.Set("TE", "trailers")
		res, err := f.client(protocol).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
		arrived := await(t, "the request", got).Trailer
		for name, values := range arrived { // those that were announced and did not come
			if values == nil {
				delete(arrived, name)
			}
		}
		if diff := cmp.Diff(kept, arrived); diff != "" {
			t.Errorf("of the request: %s", diff)
		}
		if diff := cmp.Diff(kept, res.Trailer); diff != "" {
			t.Errorf("of the response: %s", diff)
		}
	})
}

func TestInterim_ObeysTheRoutesEdits(t *testing.T) {
	pool, _ := poolOf(t, rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Secret: s\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}))
	f := serve(t, pool, func(c *Config) { c.Sites[0].Routes[0].ResponseFields.Remove = []string{"X-Secret"} })
	c := f.dial(www)
	c.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
	if res := c.answer(); res.StatusCode != 103 || res.Header.Get("Link") == "" || res.Header.Get("X-Secret") != "" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if res := c.answer(); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
}

// CGI programs take HTTP_PROXY for their own setting (httpoxy).
func TestProxy_NeverPasses(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool, trustLoopback)
	bothProtocols(t, func(t *testing.T, protocol string) {
		r, _ := http.NewRequest("GET", base+"/", nil)
		r.Header.Set("Proxy", "http://evil.example")
		res, err := f.client(protocol).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
		if got := last().Header; got["Proxy"] != nil {
			t.Errorf("arrived: %v", got)
		}
	})
}

// What a trusted proxy hands on may have been written by its client: the end of a list counts
// from where on it is one.
func TestForwarded_WhatIsNoListIsReplaced(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool, trustLoopback)
	const ours = "for=127.0.0.1;host=" + www + ";proto=https"
	for _, c := range []struct{ name, value, want string }{
		{"Forwarded", `for="`, ours},
		{"Forwarded", `for="_x`, ours},
		{"Forwarded", `for="\"`, ours},
		{"Forwarded", `for`, ours},
		{"Forwarded", `for=1.2.3.4 evil`, ours},
		{"Forwarded", `for=[::1]`, ours},
		{"Forwarded", `=x`, ours},
		{"Forwarded", `for="[2001:db8::1]:80";proto=http, for=_x`, `for="[2001:db8::1]:80";proto=http, for=_x, ` + ours},
		{"Forwarded", `for="a\"b"`, `for="a\"b", ` + ours},
		{"X-Forwarded-For", `"`, "127.0.0.1"},
		{"X-Forwarded-For", "<script>, 203.0.113.9", "203.0.113.9, 127.0.0.1"},
		{"X-Forwarded-For", "203.0.113.9, evil example", "127.0.0.1"},
		{"X-Forwarded-For", "1.1.1.1, x y, 203.0.113.9,[2001:db8::1]:443", "203.0.113.9,[2001:db8::1]:443, 127.0.0.1"},
		{"X-Forwarded-For", "unknown, _hidden, 203.0.113.9:5000", "unknown, _hidden, 203.0.113.9:5000, 127.0.0.1"},
		{"X-Forwarded-Proto", "http\"", "https"},
		{"X-Forwarded-Proto", "http", "http"},
		{"X-Forwarded-Host", "a b", www},
		{"X-Forwarded-Host", "a.example:8443", "a.example:8443"},
		{"X-Real-Ip", "<script>", ""},
		{"X-Real-Ip", "203.0.113.9", "203.0.113.9"},
	} {
		r, _ := http.NewRequest("GET", base+"/", nil)
		r.Header.Set(c.name, c.value)
		res, err := f.client("h1").Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
		if got := last().Header.Get(c.name); got != c.want {
			t.Errorf("%s: %s became %s, want %s", c.name, c.value, got, c.want)
		}
	}
}

func TestVia_IsWrittenInBothDirections(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool, func(c *Config) {
		c.Sites[0].Routes = append(c.Sites[0].Routes, Route{Path: "/hidden", Pool: pool, RequestFields: FieldEdits{Remove: []string{"via"}}, ResponseFields: FieldEdits{Remove: []string{"Via"}}})
	})
	for protocol, version := range map[string]string{"h1": "1.1", "h2": "2"} {
		r, _ := http.NewRequest("GET", base+"/", nil)
		r.Header.Set("Via", "1.0 before")
		res, err := f.client(protocol).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
		if got := last().Header["Via"]; len(got) != 2 || got[0] != "1.0 before" || !regexp.MustCompile("^"+version+` sallyport-[0-9a-f]{8}$`).MatchString(got[1]) {
			t.Errorf("%s: the backend gets %q", protocol, got)
		}
		if got := res.Header["Via"]; len(got) != 1 || !regexp.MustCompile(`^1.1 sallyport-[0-9a-f]{8}$`).MatchString(got[0]) {
			t.Errorf("%s: the client gets %q", protocol, got)
		}
		res = f.fetch(protocol, "/hidden")
		if got := last().Header["Via"]; got != nil || res.Header["Via"] != nil {
			t.Errorf("%s: not hidden: %q, %q", protocol, got, res.Header["Via"])
		}
	}
}

// A backend that asks the server again that it was asked by would do so without end. One that
// stands behind another server of this kind is none.
func TestVia_EndsALoop(t *testing.T) {
	var f *front
	asked := make(chan string, 100)
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- fmt.Sprint(len(r.Header["Via"]))
		again, _ := http.NewRequest("GET", base+r.URL.Path, nil)
		again.Header["Via"] = r.Header["Via"]
		res, err := f.client("h1").Do(again)
		if err != nil {
			w.WriteHeader(500)
			return
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
	}))
	f = serve(t, pool)
	if res := f.fetch("h2", "/"); res.StatusCode != 508 {
		t.Errorf("status %d", res.StatusCode)
	}
	if n := len(asked); n != maxPasses+1 {
		t.Errorf("asked %d times", n)
	}
	address, _ := seen(t)
	behind, _ := poolOf(t, address)
	other := serve(t, behind)
	r, _ := http.NewRequest("GET", base+"/", nil)
	r.Header["Via"] = strings.Split(strings.Repeat("1.1 "+string(f.server.via.pseudonym)+";", 9), ";")[:9]
	res, err := other.client("h1").Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if text(t, res); res.StatusCode != 200 {
		t.Errorf("behind another: %d", res.StatusCode)
	}
}
