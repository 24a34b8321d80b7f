package proxy

import (
	"strings"
	"testing"
)

func TestRoute_LongestPrefixOnSegmentBoundaries(t *testing.T) {
	for _, c := range []struct{ path, want string }{
		{"/", "/"},
		{"/x", "/"},
		{"/api", "/api"},
		{"/api/", "/api"},
		{"/api/x", "/api"},
		{"/apix", "/"},
		{"/api/v2", "/api"},
		{"/api/v2/", "/api/v2/"},
		{"/api/v2/x", "/api/v2/"},
		{"/api/v2x", "/api"},
		{"/API", "/"},
	} {
		rs, err := newRoutes([]*route{{path: "/"}, {path: "/api"}, {path: "/api/v2/"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := rs.find([]byte(c.path)); got == nil || got.path != c.want {
			t.Errorf("%s: %v, want %s", c.path, got, c.want)
		}
	}
	rs, _ := newRoutes([]*route{{path: "/api/"}})
	for _, path := range []string{"/", "/api", "/apix", "*"} {
		if got := rs.find([]byte(path)); got != nil {
			t.Errorf("%s: %v, want none", path, got)
		}
	}
	if _, err := newRoutes([]*route{{path: "/a"}, {path: "/a"}}); err == nil {
		t.Error("a doubled route was accepted")
	}
}

func TestPath_DotSegmentsAreRefused(t *testing.T) {
	for _, path := range []string{
		"/..", "/.", "/a/..", "/a/../b", "/a/./b", "/a/%2e%2e/b", "/a/.%2E/b", "/%2e", "/a%2f..%2fb", "/a%2F%2e%2e",
		`/a\..\b`, `/a%5c..%5cb`, "/a/..;x=1/b", "/a/..%3bx/b", "/a%00b", "/a#b", "/%zz", "/a\x7f",
	} {
		if _, err := decodePath([]byte(path)); err == nil {
			t.Errorf("%q was accepted", path)
		}
	}
	for path, want := range map[string]string{
		"/": "/", "/a.b": "/a.b", "/...": "/...", "/.well-known/x": "/.well-known/x", "/a..b/c": "/a..b/c",
		"/%61pi": "/api", "/a%2fb": "/a/b", "/%252e%252e": "/%2e%2e", "/a//b": "/a//b",
	} {
		if got, err := decodePath([]byte(path)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v, want %q", path, got, err, want)
		}
	}
}

func TestPath_PlainOnesAreReturnedAsTheyAre(t *testing.T) {
	path := []byte("/a.b/c;d=1/")
	if n := testing.AllocsPerRun(100, func() { decodePath(path) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAuthorityHost(t *testing.T) {
	for authority, want := range map[string]string{
		"a.b": "a.b", "a.b:1": "a.b", "a.b:65535": "a.b", "[::1]": "[::1]", "[::1]:443": "[::1]", "192.0.2.1:1": "192.0.2.1",
	} {
		if got, ok := authorityHost(authority); !ok || got != want {
			t.Errorf("%q: %q %v", authority, got, ok)
		}
	}
	for _, authority := range []string{"", ".", ":1", "a:b", "a:1:2", "::1", "[::1", "[a]", "[1.2.3.4]", "a b", "a/b", "a@b", "a%41", "a:123456", "a:", "a:65536", "a:000080", "a:+1", strings.Repeat("a", 256)} {
		if got, ok := authorityHost(authority); ok {
			t.Errorf("%q: %q accepted", authority, got)
		}
	}
}
