package main

import (
	"fmt"

	"sallyport/proxy/message/syntax"
)

// readRoutes reads the paths of all routes as those of requests are read, so that they
// can be compared.
func (s *service) readRoutes() {
	for i, site := range s.config.Sites {
		var paths []string
		first := make(map[string]int)
		for j, r := range site.Routes {
			at := fmt.Sprintf("sites[%d].routes[%d].path", i, j)
			path, err := syntax.RoutePath(r.Path)
			other, taken := first[path]
			switch {
			case err != nil:
				s.problem(at, fmt.Errorf("%q %w", r.Path, err))
			case taken:
				s.problem(at, fmt.Errorf("%q is the path of sites[%d].routes[%d] written in another way", r.Path, i, other))
			}
			first[path] = j
			paths = append(paths, path)
		}
		s.paths = append(s.paths, paths)
	}
}
