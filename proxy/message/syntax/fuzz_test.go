package syntax

import (
	"bytes"
	"strings"
	"testing"
)

// steps are what a server may do with a path, each of its own and in any order.
var steps = []func(string) string{
	func(p string) string { return string(decode(nil, []byte(p), '/')) },
	func(p string) string { return string(decode(nil, []byte(p), 0)) },
	func(p string) string { return string(MergeSlashes(nil, []byte(p))) },
	func(p string) string { return strings.ReplaceAll(p, `\`, "/") },
	func(p string) string { return string(shorten([]byte(p))) },
	func(p string) string { // parameters
		var kept []string
		for segment := range strings.SplitSeq(p, "/") {
			name, _, _ := strings.Cut(segment, ";")
			kept = append(kept, name)
		}
		return strings.Join(kept, "/")
	},
	func(p string) string { path, _, _ := strings.Cut(p, ";"); return path },
	func(p string) string { path, _, _ := strings.Cut(p, "?"); return path },
	func(p string) string { path, _, _ := strings.Cut(p, "#"); return path },
	func(p string) string { // what Windows drops
		var kept []string
		for segment := range strings.SplitSeq(p, "/") {
			kept = append(kept, strings.TrimRight(segment, ". "))
		}
		return strings.Join(kept, "/")
	},
}

func under(path, route string) bool {
	return path == route || strings.HasPrefix(path, route+"/")
}

// FuzzReadPath has servers read a path in any way, in up to eight steps. Where neither the strict
// nor the loose reading is of a route, none of theirs is: that is what refusing those that
// differ rests on.
func FuzzReadPath(f *testing.F) {
	for _, path := range []string{
		"/admin", "//admin", "/%2561dmin", "/x/..;/admin", "/admin%3bx", `/\admin`, "/a%2fdmin;x/y", "/%c1%a1dmin/%2e", "/;/admin%3f", "/admin./x", "/%25%2561dmin", "/admin/;%2f..",
	} {
		f.Add([]byte(path), uint32(0x123456))
		f.Add([]byte(path), uint32(0x981706))
	}
	const route = "/admin"
	f.Fuzz(func(t *testing.T, path []byte, order uint32) {
		target, ok := Target(path)
		if !ok || bytes.IndexByte(target, '?') >= 0 {
			return
		}
		r, _, err := ReadPath(target, nil)
		if err != nil {
			return
		}
		strict := under(string(r.Strict), route)
		if under(string(r.Loose), route) != strict {
			return // refused
		}
		if under(string(r.Apart), route) != strict {
			target = MergeSlashes(nil, target) // sent on so
		}
		read := string(target)
		for n := order; n > 0; n >>= 4 {
			if i := int(n&15) - 1; i >= 0 && i < len(steps) {
				read = steps[i](read)
			}
		}
		if got := under(read, route); got && !strict {
			t.Errorf("%q is read as %q, %q and %q", target, r.Strict, r.Loose, read)
		}
	})
}
