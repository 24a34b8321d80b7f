package proxy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sallyport/proxy/message/syntax"
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

// find returns the route of a path in one reading, nil when there is none.
func (rs *routes) find(path []byte) *route {
	for _, r := range rs.longestFirst {
		if r.matches(path) {
			return r
		}
	}
	return nil
}

// findRoute finds the request's route. What a backend could read as a path of another
// route is refused, so that the rules of one route cannot be passed by the
// path of another. But repeated slashes, which clients send that join a base and a path,
// are made one where they would hide the route: for the backend as well.
func (x *exchange) findRoute() error {
	path := x.path
	if isMethod(path, "*") {
		path = slash // the codec lets it through for OPTIONS alone
	}
	if syntax.Plain(path) {
		x.route = x.site.routes.find(path)
		return x.routed()
	}
	var r syntax.Readings
	var err error
	if r, x.arena, err = syntax.ReadPath(path, x.arena); err != nil {
		return errBadPath
	}
	x.route = x.site.routes.find(r.Strict)
	if x.site.routes.find(r.Loose) != x.route {
		x.route = nil
		return errAmbiguousPath
	}
	if x.site.routes.find(r.Apart) != x.route {
		start := len(x.arena)
		x.arena = syntax.MergeSlashes(x.arena, path)
		x.arena = append(x.arena, x.in.Path[len(path):]...)
		x.target = x.arena[start:len(x.arena):len(x.arena)]
	}
	return x.routed()
}

func (x *exchange) routed() error {
	if x.route == nil {
		return errNoRoute
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
