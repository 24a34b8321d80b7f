package proxy

import (
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"sallyport/proxy/message"
)

var freshID = regexp.MustCompile("^[0-9a-f]{32}$")

func TestRequestID_IsTheSameEverywhere(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool)
	known := map[string]bool{}
	bothProtocols(t, func(t *testing.T, protocol string) {
		for range 3 {
			id := f.fetch(protocol, "/").Header.Get("X-Request-Id")
			if !freshID.MatchString(id) || known[id] {
				t.Errorf("ID %q, after %v", id, known)
			}
			known[id] = true
			if got := last().Header.Values("X-Request-Id"); len(got) != 1 || got[0] != id {
				t.Errorf("the backend got %q, the client %s", got, id)
			}
			if got := f.access.next(t)["request_id"].String(); got != id {
				t.Errorf("logged %s, the client got %s", got, id)
			}
		}
	})
}

func TestRequestID_OfStrangersIsDropped(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	trusting := func(c *Config) { c.Listeners[0].TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	for _, c := range []struct {
		name  string
		edit  func(*Config)
		given []string
		kept  bool
	}{
		{"stranger", func(*Config) {}, []string{"abc"}, false},
		{"trusted", trusting, []string{"Root=1-67891233-abcdef012345678912345678"}, true},
		{"trusted, of two minds", trusting, []string{"a", "b"}, false},
		{"trusted, with a quote", trusting, []string{`a"b`}, false},
		{"trusted, too long", trusting, []string{strings.Repeat("a", 129)}, false},
		{"trusted, empty", trusting, []string{""}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serve(t, pool, c.edit, func(c *Config) { c.Listeners[0].Underscores = true })
			r, _ := http.NewRequest("GET", base+"/", nil)
			r.Header = http.Header{"X-Request-Id": c.given, "X_request_id": {"abc"}, "X-Request_id": {"abc"}}
			res, err := f.client("h2").Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			h := last().Header
			got := h.Values("X-Request-Id")
			if len(got) != 1 || (got[0] == c.given[0]) != c.kept || !c.kept && !freshID.MatchString(got[0]) {
				t.Errorf("the backend got %q", got)
			}
			if h["X_request_id"] != nil || h["X-Request_id"] != nil {
				t.Errorf("a claim got through: %v", h)
			}
			if id := res.Header.Get("X-Request-Id"); id != got[0] {
				t.Errorf("the client got %q", id)
			}
		})
	}
}

func TestRequestID_ReplacesTheBackendsUnlessHidden(t *testing.T) {
	pool, _ := poolOf(t, answering(t, "HTTP/1.1 200 OK\r\nX-Request-ID: theirs\r\nContent-Length: 0\r\n\r\n"))
	for _, hidden := range []bool{false, true} {
		f := serve(t, pool, func(c *Config) { c.Listeners[0].HideRequestID = hidden })
		bothProtocols(t, func(t *testing.T, protocol string) {
			got := f.fetch(protocol, "/").Header.Values("X-Request-Id")
			if len(got) != 1 || (got[0] == "theirs") != hidden {
				t.Errorf("hidden %v: %q", hidden, got)
			}
		})
	}
}

func TestRequestID_OfAFailureIsInItsAnswer(t *testing.T) {
	pool, _ := poolOf(t, refused(t))
	f := serve(t, pool)
	id := f.fetch("h1", "/").Header.Get("X-Request-Id")
	if line := f.access.next(t); id == "" || line["request_id"].String() != id {
		t.Errorf("answer %q, log %v", id, line)
	}
}

func TestGivenID_IsNilWithoutOne(t *testing.T) {
	if id := givenID([]message.Field{{ID: message.Cookie, Value: []byte("a")}}); id != nil {
		t.Errorf("got %q", id)
	}
}
