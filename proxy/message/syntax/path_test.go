package syntax

import (
	"errors"
	"testing"
)

func TestReadPath(t *testing.T) {
	for _, c := range []struct{ path, apart, strict, loose string }{
		{"/", "/", "/", "/"},
		{"/a.b/c", "/a.b/c", "/a.b/c", "/a.b/c"},
		{"/%61dmin", "/admin", "/admin", "/admin"},
		{"//admin", "//admin", "/admin", "/admin"},
		{"/a///b//", "/a///b//", "/a/b/", "/a/b/"},
		{"/a%2Fb", "/a%2Fb", "/a%2Fb", "/a/b"},
		{"/%2fadmin", "/%2fadmin", "/%2fadmin", "/admin"},
		{"/a%5cb", `/a\b`, `/a\b`, "/a/b"},
		{"/admin;x=1", "/admin;x=1", "/admin;x=1", "/admin"},
		{"/;x/admin", "/;x/admin", "/;x/admin", "/admin"},
		{"/admin%3Bx", "/admin;x", "/admin;x", "/admin"},
		{"/admin%3fx/y", "/admin?x/y", "/admin?x/y", "/admin"},
		{"/admin%23", "/admin#", "/admin#", "/admin"},
		{"/admin.", "/admin.", "/admin.", "/admin"},
		{"/admin%20", "/admin ", "/admin ", "/admin"},
		{"/%09admin%0a/x", "/\tadmin\n/x", "/\tadmin\n/x", "/admin/x"},
		{"/...", "/...", "/...", "/"},
		{"/.well-known/x", "/.well-known/x", "/.well-known/x", "/.well-known/x"},
		{"/%2561dmin", "/%61dmin", "/%61dmin", "/admin"},
		{"/%25%36%31dmin", "/%61dmin", "/%61dmin", "/admin"},
		{"/%252561", "/%2561", "/%2561", "/a"},
		{"/%c0%afadmin", "/\xc0\xafadmin", "/\xc0\xafadmin", "/admin"},
		{"/%c1%a1dmin", "/\xc1\xa1dmin", "/\xc1\xa1dmin", "/admin"},
		{"/%e0%80%afadmin", "/\xe0\x80\xafadmin", "/\xe0\x80\xafadmin", "/admin"},
		{"/%f0%80%80%afadmin", "/\xf0\x80\x80\xafadmin", "/\xf0\x80\x80\xafadmin", "/admin"},
		{"/%C3%BC", "/ü", "/ü", "/ü"},
		{"/100%25", "/100%", "/100%", "/100%"},
		{"/%5C%5cadmin%3b%2f", `/\\admin;%2f`, `/\\admin;%2f`, "/admin/"},
	} {
		r, _, err := ReadPath([]byte(c.path), nil)
		if err != nil || string(r.Apart) != c.apart || string(r.Strict) != c.strict || string(r.Loose) != c.loose {
			t.Errorf("%s: %q, %v", c.path, r, err)
		}
	}
}

func TestReadPath_RefusesDotSegmentsInAnyReading(t *testing.T) {
	for _, path := range []string{
		"/..", "/.", "/a/..", "/a/../b", "/a/./b", "/a/%2e%2e/b", "/a/.%2E/b", "/%2e", "/a%2f..%2fb", "/a%2F%2e%2e",
		`/a\..\b`, "/a%5c..%5cb", "/a/..;x=1/b", "/a/..%3bx/b", "/a/%252e%252e/b", "/a/%25252e./b", "/..%20/b", "/a/..%3f",
		"/%c0%ae%c0%ae/b", "/a;%2f..%2fb", "/a/..%255cb",
	} {
		if _, _, err := ReadPath([]byte(path), nil); !errors.Is(err, ErrDots) {
			t.Errorf("%q: %v", path, err)
		}
	}
	for path, want := range map[string]error{"/a%00": ErrNUL, "/a%2500": ErrNUL, "/a%c0%80": ErrNUL, "/%252525252561": ErrEncoded} {
		if _, _, err := ReadPath([]byte(path), nil); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", path, err, want)
		}
	}
}

func TestReadPath_WritesBehindScratchAlone(t *testing.T) {
	scratch := make([]byte, 0, 256)
	scratch = append(scratch, "kept"...)
	for _, path := range []string{"/a.b/c", "//a%2fb;c/", "/%2561"} {
		given := []byte(path)
		if n := testing.AllocsPerRun(100, func() { ReadPath(given, scratch) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
		if _, behind, _ := ReadPath(given, scratch); string(behind[:4]) != "kept" || string(given) != path {
			t.Errorf("%s: %q, %q", path, behind, given)
		}
	}
}

func TestRoutePath(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/api/": "/api/", "/a%20b/": "/a b/", "/a b/": "/a b/", "/%61": "/a", "/ü": "/ü", "/%C3%BC": "/ü", "/100%25/": "/100%/",
		"/.well-known/": "/.well-known/", `/"x"`: `/"x"`,
	} {
		if got, err := RoutePath(path); err != nil || got != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{
		"", "api", "//", "/a//b", "/a/../b", "/%2e", "/a%2fb", `/a\b`, "/a;b", "/a%3bb", "/a%2561", "/a.", "/a%20", "/a%zz", "/100%", "/a?b", "/a#b", "/a%00", "/a\nb",
	} {
		if got, err := RoutePath(path); err == nil {
			t.Errorf("%q is taken for %q", path, got)
		}
	}
}
