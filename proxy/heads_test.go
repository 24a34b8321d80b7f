package proxy

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// head is a request's head as either protocol can send it, without a body to come.
type head struct {
	method, path, host string
	fields             [][2]string
}

// answered is what a client and the log get of a request.
type answered struct{ status, body, method, host, path, outcome string }

func (f *front) logged(a answered) answered {
	line := f.access.next(f.t)
	a.method, a.host, a.path, a.outcome = line["method"].String(), line["host"].String(), line["path"].String(), line["outcome"].String()
	if line["request_id"].String() == "" || strconv.FormatInt(line["status"].Int64(), 10) != a.status {
		f.t.Errorf("logged %v, answered with %s", line, a.status)
	}
	return a
}

func (f *front) byHTTP1(h head) answered {
	c := f.dial(www)
	defer c.Close()
	var text strings.Builder
	text.WriteString(h.method + " " + h.path + " HTTP/1.1\r\n")
	if h.host != "" {
		text.WriteString("Host: " + h.host + "\r\n")
	}
	for _, kv := range h.fields {
		text.WriteString(kv[0] + ": " + kv[1] + "\r\n")
	}
	go io.WriteString(c, text.String()+"\r\n") // some is not read
	res, err := http.ReadResponse(c.r, &http.Request{Method: h.method})
	if err != nil {
		f.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.logged(answered{status: strconv.Itoa(res.StatusCode), body: string(body)})
}

func (f *front) byHTTP2(h head) answered {
	fields := [][2]string{{":method", h.method}, {":scheme", "https"}, {":path", h.path}}
	if h.method == "CONNECT" {
		fields = [][2]string{{":method", h.method}}
		h.host = h.path
	}
	if h.host != "" {
		fields = append(fields, [2]string{":authority", h.host})
	}
	fr := f.dialHTTP2()
	for _, kv := range h.fields {
		fields = append(fields, [2]string{strings.ToLower(kv[0]), kv[1]})
	}
	f.sendHead(fr, 1, fields, true)
	var a answered
	dec := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			a.status = f.Value
		}
	})
	for {
		got, err := fr.ReadFrame()
		if err != nil {
			f.t.Fatal(err)
		}
		switch got := got.(type) {
		case *http2.HeadersFrame:
			dec.Write(got.HeaderBlockFragment())
		case *http2.DataFrame:
			a.body += string(got.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			f.t.Fatalf("%v", got)
		default:
			continue
		}
		if got.Header().Flags.Has(http2.FlagDataEndStream) {
			return f.logged(a)
		}
	}
}

func repeated(kv [2]string, n int) (all [][2]string) {
	for range n {
		all = append(all, kv)
	}
	return all
}

// What a request may be does not depend on the protocol that it comes by: both answer alike
// whatever HTTP has to say of a head, and the log tells the same.
func TestHeads_BothProtocolsAgree(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, func(c *Config) {
		c.Sites[0].Routes = []Route{{Path: "/", Pool: pool}, {Path: "/admin", Pool: pool, Methods: []string{"PUT"}}}
	})
	long := func(n int) string { return "/" + strings.Repeat("a", n-1) }
	const limit, line, hostLine, end = 64 << 10, len("GET  HTTP/1.1\r\n"), len("Host: " + www + "\r\n"), len("\r\n")
	for name, c := range map[string]struct {
		head
		want string
	}{
		"plain":                     {head{"GET", "/x?y", www, nil}, "200"},
		"other method":              {head{"PURGE", "/x", www, nil}, "200"},
		"method no token":           {head{"G(T", "/", www, nil}, "400"},
		"method too long":           {head{strings.Repeat("A", 40), "/", www, nil}, "400"},
		"TRACE":                     {head{"TRACE", "/", www, nil}, "405"},
		"CONNECT":                   {head{"CONNECT", www + ":443", www + ":443", nil}, "405"},
		"CONNECT without a port":    {head{"CONNECT", www, www, nil}, "400"},
		"method of the route":       {head{"GET", "/admin", www, nil}, "405"},
		"OPTIONS *":                 {head{"OPTIONS", "*", www, nil}, "200"},
		"GET *":                     {head{"GET", "*", www, nil}, "400"},
		"no slash":                  {head{"GET", "x", www, nil}, "400"},
		"raw characters":            {head{"GET", "/\"<>{}^`\\|[]?\"<>{}^`\\|[]", www, nil}, "200"},
		"octets beyond ASCII":       {head{"GET", "/\xfc?ü", www, nil}, "200"},
		"fragment":                  {head{"GET", "/x#y", www, nil}, "400"},
		"NUL":                       {head{"GET", "/x\x00", www, nil}, "400"},
		"DEL":                       {head{"GET", "/x\x7f", www, nil}, "400"},
		"broken escape":             {head{"GET", "/%4", www, nil}, "400"},
		"broken escape in a query":  {head{"GET", "/?100%", www, nil}, "200"},
		"dot segment":               {head{"GET", "/x/../y", www, nil}, "400"},
		"slashes":                   {head{"GET", "//admin", www, nil}, "405"},
		"parameters":                {head{"GET", "/admin;x", www, nil}, "400"},
		"no host":                   {head{"GET", "/", "", nil}, "400"},
		"empty port":                {head{"GET", "/", www + ":", nil}, "200"},
		"port":                      {head{"GET", "/", www + ":8443", nil}, "200"},
		"port too large":            {head{"GET", "/", www + ":99999", nil}, "400"},
		"port of letters":           {head{"GET", "/", www + ":x", nil}, "400"},
		"other site":                {head{"GET", "/", "other.example", nil}, "421"},
		"host with a mark":          {head{"GET", "/", "a!b", nil}, "400"},
		"host with a user":          {head{"GET", "/", "u@" + www, nil}, "400"},
		"host of IPv6":              {head{"GET", "/", "[::1]:443", nil}, "421"},
		"host of broken IPv6":       {head{"GET", "/", "[::1", nil}, "400"},
		"host of IPv6, bad port":    {head{"GET", "/", "[::1]:99999", nil}, "400"},
		"host twice":                {head{"GET", "/", www, [][2]string{{"Host", "evil.example"}}}, "400"},
		"underscore":                {head{"GET", "/", www, [][2]string{{"X_Y", "z"}}}, "400"},
		"control in a value":        {head{"GET", "/", www, [][2]string{{"X", "a\x01b"}}}, "400"},
		"value beyond ASCII":        {head{"GET", "/", www, [][2]string{{"X", "\xff"}}}, "200"},
		"name with a blank":         {head{"GET", "/", www, [][2]string{{"X", "y"}, {"X-é", "z"}}}, "400"},
		"expectation":               {head{"GET", "/", www, [][2]string{{"Expect", "foo"}}}, "417"},
		"empty expectation":         {head{"GET", "/", www, [][2]string{{"Expect", ""}}}, "417"},
		"100-continue, no body":     {head{"GET", "/", www, [][2]string{{"Expect", "100-continue"}}}, "200"},
		"length of letters":         {head{"GET", "/", www, [][2]string{{"Content-Length", "x"}}}, "400"},
		"two lengths":               {head{"GET", "/", www, [][2]string{{"Content-Length", "0"}, {"Content-Length", "0"}}}, "400"},
		"9,000 letters":             {head{"GET", "/x?" + strings.Repeat("a", 9000), www, nil}, "200"},
		"40 KB of path":             {head{"GET", long(40 << 10), www, nil}, "200"},
		"as long as may be":         {head{"GET", long(limit - line - hostLine - end), www, nil}, "200"},
		"one longer":                {head{"GET", long(limit - line - hostLine - end + 1), www, nil}, "431"},
		"target as long as may be":  {head{"GET", long(limit - line), www, nil}, "431"},
		"target one longer":         {head{"GET", long(limit - line + 1), www, nil}, "414"},
		"300 KB of path":            {head{"GET", long(300 << 10), www, nil}, "414"},
		"field as long as may be":   {head{"GET", "/", www, [][2]string{{"X", strings.Repeat("x", limit-line-1-hostLine-end-5)}}}, "200"},
		"field one longer":          {head{"GET", "/", www, [][2]string{{"X", strings.Repeat("x", limit-line-1-hostLine-end-4)}}}, "431"},
		"field of 200 KB":           {head{"GET", "/", www, [][2]string{{"X", strings.Repeat("x", 200<<10)}}}, "431"},
		"field of 200 KB, indexed":  {head{"GET", "/", www, [][2]string{{"Authorization", strings.Repeat("é", 100<<10)}}}, "431"},
		"host too long":             {head{"GET", "/", strings.Repeat("a", 300), nil}, "400"},
		"100 lines with Host":       {head{"GET", "/", www, repeated([2]string{"X", "y"}, 99)}, "200"},
		"101 lines with Host":       {head{"GET", "/", www, repeated([2]string{"X", "y"}, 100)}, "431"},
		"cookie and 98 other lines": {head{"GET", "/", www, append(repeated([2]string{"X", "y"}, 98), [2]string{"Cookie", "a=b"})}, "200"},
	} {
		t.Run(name, func(t *testing.T) {
			here := *f
			here.t = t
			one, two := here.byHTTP1(c.head), here.byHTTP2(c.head)
			if one.status != c.want || two.status != c.want {
				t.Errorf("HTTP/1.1 %s (%s), HTTP/2 %s (%s), want %s", one.status, one.outcome, two.status, two.outcome, c.want)
			}
			if one.outcome, two.outcome = "", ""; c.method == "CONNECT" {
				one.path, two.path = "", "" // it has no path, and HTTP/1.1 a target in its place
			}
			if one.host == "" {
				two.host = "" // HTTP/1.1 may read no further than its first line
			}
			if one != two {
				t.Errorf("\nHTTP/1.1 %.300q\nHTTP/2   %.300q", one, two)
			}
		})
	}
}

// Browsers send a cookie in as many fields as it has parts. HTTP has one.
func TestHeads_ACookieInCrumbsIsOneField(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool)
	crumbs := func(n int, crumb string) head { return head{"GET", "/", www, repeated([2]string{"Cookie", crumb}, n)} }
	for _, c := range []struct {
		n           int
		crumb, want string
	}{{2, "a=b", "200"}, {98, "a=b", "200"}, {1000, "a=b; c=d", "200"}, {3000, strings.Repeat("a", 16), "200"}, {4000, strings.Repeat("a", 16), "431"}, {40000, "", "431"}} {
		if a := f.byHTTP2(crumbs(c.n, c.crumb)); a.status != c.want {
			t.Errorf("%d crumbs of %q: %s (%s)", c.n, c.crumb, a.status, a.outcome)
		} else if a.status == "200" {
			if got := last().Header["Cookie"]; len(got) != 1 || got[0] != c.crumb+strings.Repeat("; "+c.crumb, c.n-1) {
				t.Errorf("%d crumbs became %d fields: %.100q", c.n, len(got), got)
			}
		}
	}
}

// Only the stream ends whose head is beyond a limit: the connection, and what HPACK
// knows by then, serve the next one.
func TestHeads_TheConnectionOutlivesOneThatIsTooLarge(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	c := f.client("h2")
	for i := range 20 {
		r, _ := http.NewRequest("GET", base+"/", nil)
		r.Header.Set("X-Known-"+strconv.Itoa(i), "by HPACK")
		r.Header.Set("X-Large", strings.Repeat("x", 60<<10))
		r.Header["X-Larger"] = []string{strings.Repeat("x", 5<<10)}
		want := 431
		if i%2 == 0 {
			r.Header.Del("X-Large")
			want = 200
		}
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if text(t, res); res.StatusCode != want {
			t.Errorf("request %d: %d", i, res.StatusCode)
		}
	}
	if n, _ := f.server.clients.sofar(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// What is refused is in the log with what was read of it, and nothing in it ends a line, or
// fills the disk.
func TestHeads_WhatIsRefusedIsLoggedAsItCame(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool)
	for send, want := range map[string][3]string{
		"GET /x HTTP/1.1\r\nHost: a b\r\n\r\n":                                    {"GET", `a\x20b`, "/x"},
		"GET /a%zz?secret HTTP/1.1\r\nHost: x\r\n\r\n":                            {"GET", "x", "/a%zz"},
		"POST /x HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n":                           {"POST", "x", "/x"},
		"GET /x\ty HTTP/1.1\r\n\r\n":                                              {"GET", "", `/x\x09y`},
		"GET /\x1b[31m\"\\ HTTP/1.1\r\nHost: x\r\n\r\n":                           {"GET", "x", `/\x1b[31m\x22\x5c`},
		"\x16\x03\x01\x02\x00\x01\n{\"msg\":\"forged\"}":                          {"", "", `\x16`},
		"GET{\"msg\":\"forged\"}\x00\n\n":                                         {"", "", `GET{\x22msg\x22:\x22forged\x22}\x00\x0a\x0a`},
		"GET https://me:secret@x/y@z?q HTTP/1.1\r\nHost: me:secret@x\r\n\r\n":     {"GET", "x", "x/y@z"},
		"GET /y@z HTTP/1.1\r\nHost: a b\r\n\r\n":                                  {"GET", `a\x20b`, "/y@z"},
		"GARBAGE\r\nX: y\r\n\r\n":                                                 {"", "", "GARBAGE"},
		"GET /" + strings.Repeat("x", 70000) + " HTTP/1.1\r\nHost: x\r\n\r\n":     {"GET", "", "/" + strings.Repeat("x", 255) + "..."},
		"GET /x HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 70000) + "\r\n": {"GET", "x", "/x"},
		"GET /x HTTP/2.0\r\nHost: x\r\n\r\n":                                      {"GET", "", "/x"},
	} {
		c := f.dial(www)
		go io.WriteString(c, send)
		io.Copy(io.Discard, c.r)
		c.Close()
		line := f.access.next(t)
		if got := [3]string{line["method"].String(), line["host"].String(), line["path"].String()}; got != want {
			t.Errorf("%.40q is logged as %.300q", send, got)
		}
		if line["request_id"].String() == "" || line["protocol"].String() != "HTTP/1.1" || line["client"].String() != "127.0.0.1" {
			t.Errorf("%.40q: logged %v", send, line)
		}
	}
	if n := testutil.ToFloat64(f.server.metrics.failures.WithLabelValues("malformed target")); n != 2 {
		t.Errorf("%v malformed targets are counted", n)
	}
}
