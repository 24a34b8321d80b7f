package proxy

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// route is a Route made ready.
type route struct {
	path string
	pool *forwarder
}

// routes are a site's routes, longest path first.
type routes struct{ longestFirst []route }

func newRoutes(all []route) (*routes, error) {
	rs := &routes{longestFirst: slices.Clone(all)}
	slices.SortStableFunc(rs.longestFirst, func(a, b route) int { return cmp.Compare(len(b.path), len(a.path)) })
	seen := map[string]bool{}
	for _, r := range all {
		if seen[r.path] {
			return nil, fmt.Errorf("route %q is listed twice", r.path)
		}
		seen[r.path] = true
	}
	return rs, nil
}

// find returns the route for a decoded path, nil when there is none.
func (rs *routes) find(path string) *route {
	for i := range rs.longestFirst {
		if r := &rs.longestFirst[i]; r.matches(path) {
			return r
		}
	}
	return nil
}

func (r *route) matches(path string) bool {
	rest, ok := strings.CutPrefix(path, r.path)
	return ok && (rest == "" || strings.HasSuffix(r.path, "/") || rest[0] == '/')
}

// splitTarget cuts a request target into its path and query as they came,
// without decoding. From an absolute-form (RFC 9112 §3.2.2) scheme and
// authority are cut off. "*" stays what it is.
func splitTarget(target string) (path, query string, hasQuery bool) {
	if !strings.HasPrefix(target, "/") && target != "*" {
		_, rest, _ := strings.Cut(target, "://")
		if at := strings.IndexAny(rest, "/?"); at >= 0 {
			target = rest[at:]
		} else {
			target = "/"
		}
	}
	path, query, hasQuery = strings.Cut(target, "?")
	if path == "" {
		path = "/"
	}
	return path, query, hasQuery
}

// decodePath returns path decoded once, to route by. It refuses what a backend
// could resolve to another path than the one that is routed here: a segment that
// is "." or "..", also one written with %2e, parted by %2f or a backslash, or
// followed by a path parameter ("..;x"), which some servers cut off first.
// It refuses bytes that no path can have as well, and NUL.
func decodePath(path string) (string, error) {
	for _, c := range []byte(path) {
		if c <= ' ' || c == 0x7f || c == '#' {
			return "", errBadPath
		}
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || strings.IndexByte(decoded, 0) >= 0 {
		return "", errBadPath
	}
	for segment := range strings.FieldsFuncSeq(decoded, func(r rune) bool { return r == '/' || r == '\\' }) {
		name, _, _ := strings.Cut(segment, ";")
		if name == "." || name == ".." {
			return "", errBadPath
		}
	}
	return decoded, nil
}
