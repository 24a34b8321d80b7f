package syntax

import (
	"bytes"
	"strings"
	"testing"
)

func TestTarget(t *testing.T) {
	for target, want := range map[string]string{
		"/": "/", "/a?b=c": "/a?b=c", "/a[]|^{}`?a[]=1|2^{}`\\'": "/a[]|^{}`?a[]=1|2^{}`\\'", "/%41?%": "/%41?%",
		`/a"b<c>`: "/a%22b%3Cc%3E", `/a\b`: "/a%5Cb", "/ü": "/%C3%BC", "/\xff": "/%FF", "/%41\"": "/%41%22",
		`/?k="apple"<>`: "/?k=%22apple%22%3C%3E", "/?q=ü": "/?q=%C3%BC", "/?%zz\"": "/?%zz%22", "/a\\?\\": "/a%5C?\\",
	} {
		if got, ok := Target([]byte(target)); !ok || string(got) != want {
			t.Errorf("%q: %q, %v", target, got, ok)
		}
	}
	for _, target := range []string{"", "a", "*", "?a", "/a b", "/a#b", "/a\x00", "/a\x7f", "/a\tb", "/a?b c", "/a?b#c", "/a?\n", "/%", "/%4", "/%zz?", "/%zz\"", "/\"%4?"} {
		if got, ok := Target([]byte(target)); ok {
			t.Errorf("%q is taken as %q", target, got)
		}
	}
}

func TestAuthority(t *testing.T) {
	for authority, want := range map[string]string{
		"a.b": "a.b", "a_b-c.D": "a_b-c.D", "a:443": "a:443", "a:65535": "a:65535", "a:": "a", "[::1]": "[::1]", "[::1]:": "[::1]", "[::1]:443": "[::1]:443", "192.0.2.1:1": "192.0.2.1:1",
	} {
		if got, ok := Authority([]byte(authority)); !ok || string(got) != want {
			t.Errorf("%q: %q, %v", authority, got, ok)
		}
	}
	for _, authority := range []string{
		"", ":", ":1", "a:b", "a:1:2", "::1", "[::1", "[]", "[a]", "[::1]x", "[::1]:99999", "a!b", "a b", "a/b", "a@b", "a%41", "a:65536", "a:123456", "a::", "ü", strings.Repeat("a", 300),
	} {
		if got, ok := Authority([]byte(authority)); ok {
			t.Errorf("%q is taken as %q", authority, got)
		}
	}
}

func TestValue_FastAndSlowAgree(t *testing.T) {
	for n := range 20 {
		for at := range n {
			for c := range 256 {
				b := bytes.Repeat([]byte{'x'}, n)
				b[at] = byte(c)
				if want := c >= ' ' && c != 0x7f || c == '\t'; Value(b) != want {
					t.Fatalf("%q: %v", b, Value(b))
				}
			}
		}
	}
}
