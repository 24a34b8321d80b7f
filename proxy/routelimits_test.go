package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRouteLimits_Methods(t *testing.T) {
	pool, b := poolOf(t, backend(t, echo))
	f := serve(t, pool, func(c *Config) {
		c.Sites[0].Routes = []Route{{Path: "/", Pool: pool}, {Path: "/read", Pool: pool, Methods: []string{"GET"}}, {Path: "/write", Pool: pool, Methods: []string{"POST", "PURGE"}}}
	})
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		for _, test := range []struct {
			method, path string
			want         int
			allow        string
		}{
			{"GET", "/read", 200, ""},
			{"HEAD", "/read/x", 200, ""},
			{"POST", "/read", 405, "GET, HEAD"},
			{"OPTIONS", "/read", 405, "GET, HEAD"},
			{"get", "/read", 405, "GET, HEAD"},
			{"PURGE", "/write", 200, ""},
			{"GET", "/write", 405, "POST, PURGE"},
			{"DELETE", "/", 200, ""},
		} {
			r, _ := http.NewRequest(test.method, base+test.path, nil)
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text(t, res)
			if res.StatusCode != test.want || res.Header.Get("Allow") != test.allow {
				t.Errorf("%s %s: %d, Allow %q", test.method, test.path, res.StatusCode, res.Header.Get("Allow"))
			}
			if test.want == 200 {
				b.next()
			}
		}
	})
	if len(b.released) != 0 {
		t.Error("a refused request reached the backend")
	}
}

func TestRouteLimits_AWebSocketIsAGet(t *testing.T) {
	pool, _ := poolOf(t, wsEcho(t))
	f := serve(t, pool, func(c *Config) { c.Sites[0].Routes[0].Methods = []string{"GET"} })
	f.webSocket().CloseNow()
}

func TestRouteLimits_DeclaredBodyReachesNobody(t *testing.T) {
	pool, b := poolOf(t, backend(t, echo))
	f := serve(t, pool, func(c *Config) { c.Sites[0].Routes[0].MaxBody = 10 })
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		for body, want := range map[string]int{"": 200, "0123456789": 200, "0123456789a": 413} {
			res, err := c.Post(base+"/", "text/plain", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			text(t, res)
			if res.StatusCode != want {
				t.Errorf("%d bytes: %d, want %d", len(body), res.StatusCode, want)
			}
			if want == 200 {
				b.next()
			}
		}
	})
	if len(b.released) != 0 {
		t.Error("a refused request reached the backend")
	}
	// Who asks before it sends need not send.
	conn := f.dial(www)
	conn.send("POST / HTTP/1.1\nHost: " + www + "\nContent-Length: 1000000\nExpect: 100-continue\n\n")
	if res := conn.answer(); res.StatusCode != 413 {
		t.Errorf("got %d before the body, want 413", res.StatusCode)
	}
}

// A body of unknown length is counted on its way. The backend, which gets no more
// than the limit, is not to blame.
func TestRouteLimits_CountedBodyIsNoBackendsFault(t *testing.T) {
	const limit = 100_000
	got := make(chan int64, 2)
	pool, b := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got <- n
	}))
	f := serve(t, pool, func(c *Config) { c.Sites[0].Routes[0].MaxBody = limit })
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		for size, want := range map[int]int{limit: 200, limit + 1: 413, 3 * limit: 413} {
			res, err := c.Post(base+"/", "text/plain", io.NopCloser(strings.NewReader(strings.Repeat("x", size))))
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			text(t, res)
			if res.StatusCode != want {
				t.Errorf("%d bytes: %d, want %d", size, res.StatusCode, want)
			}
			if r := b.next(); r.blamed() {
				t.Errorf("the backend is blamed: %v", r.err)
			}
			if n := await(t, "the backend's part", got); n > limit {
				t.Errorf("the backend got %d bytes", n)
			}
			f.access.until(t, "request")
		}
	})
	if n := testutil.ToFloat64(f.server.metrics.requests.WithLabelValues("www", "web", "POST", "413", "2")); n != 2 {
		t.Errorf("%v requests counted with 413", n)
	}
}
