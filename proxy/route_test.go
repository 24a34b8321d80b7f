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

// A rule of a route holds however its path is written: either the request is
// taken for one of that route, and what is sent on is nothing else to any backend, or
// it is refused.
func TestRoute_NoSpellingOfAPathPassesByItsRules(t *testing.T) {
	recorder := newRecorder(t)
	pool, _ := poolOf(t, recorder.address)
	f := serve(t, pool, func(c *Config) {
		c.Sites[0].Routes = []Route{{Path: "/", Pool: pool}, {Path: "/admin", Pool: pool, Methods: []string{"GET"}}, {Path: "/a b/", Pool: pool, Methods: []string{"GET"}}}
	})
	post := func(path string) string {
		c := f.dial(www)
		defer c.Close()
		c.send("POST " + path + " HTTP/1.1\nHost: " + www + "\nContent-Length: 0\nConnection: close\n\n")
		return c.status("POST")
	}
	for path, want := range map[string]string{
		"/admin": "405", "/admin/": "405", "/admin/x?y": "405", "/%61dmin": "405", "/a%64min%2f": "400", "/a%20b/c": "405",
		"//admin": "405", "///admin//x": "405", "//%61dmin": "405", "//a%20b/": "405",
		"/%2fadmin": "400", "/admin%2Fx": "400", "/%2F%2fadmin": "400", "//%2fadmin": "400",
		`/\admin`: "400", `/admin\x`: "400", "/%5cadmin": "400", "//%5Cadmin": "400",
		"/admin;x": "400", "/;x/admin": "400", "/admin;x=y/z": "400", "/admin%3bx": "400", "//admin;x": "400", "/;%2fadmin": "400",
		"/./admin": "400", "/x/../admin": "400", "/x/..;/admin": "400", "/%2e/admin": "400", "/x/%2e%2E/admin": "400", "/x%2f..%2fadmin": "400",
		"/x/..%5cadmin": "400", "/x/%252e%252e/admin": "400", "/x/%c0%ae%c0%ae/admin": "400", "/admin/.": "400", "/admin/..": "400",
		"/admin.": "400", "/admin..": "400", "/admin%20": "400", "/%20admin": "400", "/admin%0a": "400", "/admin./x": "400",
		"/admin%00": "400", "/admin%2500": "400", "/%2561dmin": "400", "/%25%361dmin": "400", "/admin%253fx": "400", "/admin%3f": "400", "/admin%23x": "400",
		"/%c1%a1dmin": "400", "/%c0%afadmin": "400", "/%252fadmin": "400", "/a%2520b/": "400",
	} {
		if got := post(path); got != want {
			t.Errorf("POST %s: %s, want %s", path, got, want)
		}
	}
	if saw := recorder.rest(); saw != nil {
		t.Errorf("the backend saw %q", saw)
	}
	// What can be read in several ways and concerns one route alone goes on as it came.
	for path, want := range map[string]string{
		"/x//y": "/x//y", "//x": "//x", "/x;jsessionid=1": "/x;jsessionid=1", "/x/;y/z": "/x/;y/z", "/group%2Fproject": "/group%2Fproject", "/adminx": "/adminx",
		"/x/http://y//z?a=//b": "/x/http://y//z?a=//b", "/x.": "/x.", "/x%20": "/x%20", "/100%25": "/100%25", "/%252F": "/%252F", "/x/...": "/x/...", "/.well-known/x": "/.well-known/x",
		"/ADMIN": "/ADMIN", "/%C3%BC": "/%C3%BC", "/administrator;x": "/administrator;x",
	} {
		if got := post(path); got != "200" {
			t.Errorf("POST %s: %s", path, got)
			continue
		}
		if saw := await(t, "the request", recorder.saw); saw != "POST "+want {
			t.Errorf("%s became %s", path, saw)
		}
	}
}

func TestRoute_RepeatedSlashesThatHideARouteAreSentAsOne(t *testing.T) {
	recorder := newRecorder(t)
	pool, _ := poolOf(t, recorder.address)
	f := serve(t, pool, func(c *Config) {
		c.Sites[0].Routes = []Route{{Path: "/", Pool: pool}, {Path: "/api", Pool: pool}}
	})
	for path, want := range map[string]string{"//api//x?y=//z": "/api/x?y=//z", "/api//x": "/api//x"} {
		c := f.dial(www)
		c.send("GET " + path + " HTTP/1.1\nHost: " + www + "\nConnection: close\n\n")
		if got := c.status("GET"); got != "200" {
			t.Fatalf("%s: %s", path, got)
		}
		if saw := await(t, "the request", recorder.saw); saw != "GET "+want {
			t.Errorf("%s became %s", path, saw)
		}
		if line := f.access.next(t); line["route"].String() != "/api" || line["path"].String() != strings.Split(path, "?")[0] {
			t.Errorf("the log has %v", line)
		}
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
