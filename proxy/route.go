package proxy

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// route is a Route made ready.
type route struct {
	path     string
	pool     *forwarder
	methods  []string // nil: all
	allow    []byte   // they, as Allow has them
	maxBody  int64    // 0: any
	request  *fieldEdits
	response *fieldEdits
	series   series
}

func newRoute(r Route, pool *forwarder, site string) *route {
	methods := slices.Clone(r.Methods)
	if slices.Contains(methods, "GET") && !slices.Contains(methods, "HEAD") {
		methods = append(methods, "HEAD")
	}
	return &route{
		path: r.Path, pool: pool, series: series{site: site, pool: pool.Name},
		methods: methods, allow: []byte(strings.Join(methods, ", ")), maxBody: r.MaxBody,
		request: newFieldEdits(r.RequestFields), response: newFieldEdits(r.ResponseFields),
	}
}

// routes are a site's routes, longest path first.
type routes struct{ longestFirst []*route }

func newRoutes(all []*route) (*routes, error) {
	rs := &routes{longestFirst: slices.Clone(all)}
	slices.SortStableFunc(rs.longestFirst, func(a, b *route) int { return cmp.Compare(len(b.path), len(a.path)) })
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
func (rs *routes) find(path []byte) *route {
	for _, r := range rs.longestFirst {
		if r.matches(path) {
			return r
		}
	}
	return nil
}

func (r *route) matches(path []byte) bool {
	n := len(r.path)
	if len(path) < n || string(path[:n]) != r.path {
		return false
	}
	return len(path) == n || r.path[n-1] == '/' || path[n] == '/'
}

// cutQuery cuts a request target into its path and query as they came.
func cutQuery(target []byte) (path, query []byte) {
	path, query, _ = bytes.Cut(target, []byte{'?'})
	return path, query
}

// decodePath returns path decoded once, to route by. It refuses what a backend
// could resolve to another path than the one that is routed here: a segment that
// is "." or "..", also one written with %2e, parted by %2f or a backslash, or
// followed by a path parameter ("..;x"), which some servers cut off first.
// It refuses bytes that no path can have as well, and NUL.
//
// A path that has nothing to decode is returned itself.
func decodePath(path []byte) ([]byte, error) {
	plain := true
	for i, c := range path {
		switch {
		case c <= ' ' || c == 0x7f || c == '#':
			return nil, errBadPath
		case c == '%' || c == '\\':
			plain = false
		case c == '.' && (i == 0 || path[i-1] == '/'):
			plain = false // it may be a dot segment
		}
	}
	if plain {
		return path, nil
	}
	decoded, err := url.PathUnescape(string(path))
	if err != nil || strings.IndexByte(decoded, 0) >= 0 {
		return nil, errBadPath
	}
	for segment := range strings.FieldsFuncSeq(decoded, func(r rune) bool { return r == '/' || r == '\\' }) {
		name, _, _ := strings.Cut(segment, ";")
		if name == "." || name == ".." {
			return nil, errBadPath
		}
	}
	return []byte(decoded), nil
}
