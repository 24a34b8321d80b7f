package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFieldEdits_OfRequestsAndAnswers(t *testing.T) {
	got := make(chan http.Header, 2)
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		w.Header()["X-Set"] = []string{"theirs", "theirs too"}
		w.Header().Set("X-Added", "theirs")
		w.Header().Set("Server", "secret/1.2.3")
		w.Header().Set("X-Kept", "1")
	}))
	edits := FieldEdits{
		Set:    []Field{{"X-Set", "ours"}, {"x-new", "ours"}},
		Add:    []Field{{"X-Added", "ours"}, {"X-Added", "ours too"}},
		Remove: []string{"SERVER", "X-Secret", "X-Absent"},
	}
	f := serve(t, pool, func(c *Config) {
		c.Sites[0].Routes[0].RequestFields = edits
		c.Sites[0].Routes[0].ResponseFields = edits
		c.Sites[0].Routes = append(c.Sites[0].Routes, Route{Path: "/plain", Pool: pool})
	})
	bothProtocols(t, func(t *testing.T, protocol string) {
		r, _ := http.NewRequest("GET", base+"/", nil)
		r.Header = http.Header{"X-Set": {"a", "b"}, "X-Added": {"a"}, "X-Secret": {"a"}, "X-Kept": {"1"}}
		res, err := f.client(protocol).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
		request, answer := await(t, "the request", got), res.Header
		for _, h := range []http.Header{request, answer} {
			for _, name := range []string{"User-Agent", "Accept-Encoding", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Request-Id", "Date", "Content-Length", "Via"} {
				h.Del(name)
			}
		}
		want := http.Header{"X-Set": {"ours"}, "X-New": {"ours"}, "X-Added": {"a", "ours", "ours too"}, "X-Kept": {"1"}}
		if diff := cmp.Diff(want, request); diff != "" {
			t.Errorf("request: %s", diff)
		}
		want["X-Added"] = []string{"theirs", "ours", "ours too"}
		if diff := cmp.Diff(want, answer); diff != "" {
			t.Errorf("answer: %s", diff)
		}
		if res := f.fetch(protocol, "/plain"); res.Header.Get("Server") == "" || await(t, "the request", got).Get("X-New") != "" {
			t.Error("another route is edited")
		}
	})
}

// What could split a message or speak for the proxy is refused before it serves.
func TestFieldEdits_WhatIsNotEdited(t *testing.T) {
	for _, name := range []string{
		"", "A B", "A:", "A\r\nB", "Ä", ":path",
		"Host", "content-length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade",
		"Expect", "Proxy-Authorization", "Proxy-Authenticate", "HTTP2-Settings",
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Port", "X_Forwarded_For", "X-Real-IP", "X-Request-ID", "x_request_id",
		"Strict-Transport-Security",
	} {
		for _, e := range []FieldEdits{{Set: []Field{{name, "x"}}}, {Add: []Field{{name, "x"}}}, {Remove: []string{name}}} {
			if e.check() == nil {
				t.Errorf("%q is edited by %+v", name, e)
			}
		}
	}
	for _, value := range []string{"a\r\nB: c", "a\nb", "a\x00", " a", "a\t", "\x7f", "é"} {
		if (FieldEdits{Add: []Field{{"A", value}}}).check() == nil {
			t.Errorf("the value %q is written", value)
		}
	}
	pool, _ := poolOf(t, refused(t))
	s := siteOf(t, "www", pool, www)
	s.Routes[0].RequestFields.Set = []Field{{"Host", "x"}}
	s.Routes[0].ResponseFields.Add = []Field{{"A", "x\r\n"}}
	if _, err := New(Config{Sites: []Site{s}}); err == nil || !strings.Contains(err.Error(), `field "Host"`) || !strings.Contains(err.Error(), `value of "A"`) {
		t.Errorf("New: %v", err)
	}
	for _, e := range []FieldEdits{{Set: []Field{{"Cookie", "a=b"}, {"Server", ""}}}, {Add: []Field{{"Content-Security-Policy", "default-src 'self'; img-src *"}}}, {Remove: []string{"Date"}}} {
		if err := e.check(); err != nil {
			t.Error(err)
		}
	}
}
