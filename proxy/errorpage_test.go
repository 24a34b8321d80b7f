package proxy

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestErrorPage_IsForErrorsMadeHere(t *testing.T) {
	const page = "<h1>Back soon</h1>"
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "theirs", http.StatusBadGateway)
	}))
	down, _ := poolOf(t, refused(t))
	f := serve(t, pool, func(c *Config) {
		c.Sites[0].ErrorPages = []ErrorPage{
			{502, "text/html; charset=utf-8", []byte(page)}, {400, "application/json", []byte("{}")}, {404, "text/plain", nil},
		}
		c.Sites[0].Routes = []Route{{Path: "/up", Pool: pool}, {Path: "/down", Pool: down}}
	})
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		for _, test := range []struct {
			method, path, kind, body string
			status                   int
		}{
			{"GET", "/down", "text/html; charset=utf-8", page, 502},
			{"POST", "/down", "text/html; charset=utf-8", page, 502},
			{"HEAD", "/down", "text/html; charset=utf-8", "", 502},
			{"GET", "/up", "text/plain; charset=utf-8", "theirs\n", 502},
			{"GET", "/up/%2e%2e/x", "application/json", "{}", 400},
			{"GET", "/nowhere", "text/plain", "", 404},
			{"TRACE", "/up", "text/plain; charset=utf-8", "405 Method Not Allowed\n", 405},
		} {
			r, _ := http.NewRequest(test.method, base+test.path, nil)
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body := text(t, res)
			if res.StatusCode != test.status || body != test.body || res.Header.Get("Content-Type") != test.kind {
				t.Errorf("%s %s: %d %q %v", test.method, test.path, res.StatusCode, body, res.Header)
			}
			if test.path == "/down" && (res.ContentLength != int64(len(page)) || res.Header.Get("Cache-Control") != "no-store") {
				t.Errorf("%s %s: %v", test.method, test.path, res.Header)
			}
		}
	})
}

func TestErrorPage_MakesNoHeads(t *testing.T) {
	for _, pages := range [][]ErrorPage{
		{{200, "text/plain", nil}}, {{600, "text/plain", nil}}, {{502, "", nil}},
		{{502, "text/html\r\nX: y", nil}}, {{502, "text/html", nil}, {502, "text/html", nil}},
	} {
		if _, err := newErrorPages(pages); err == nil || !strings.Contains(err.Error(), "error page for") {
			t.Errorf("%+v: %v", pages, err)
		}
	}
}

// The statuses of all failures are known to those who write pages for them.
func TestErrorStatuses_AreAllThereAre(t *testing.T) {
	statuses := map[string]int{}
	for code := range 600 {
		// Bad Gateway is http.StatusBadGateway.
		statuses[strings.NewReplacer(" ", "", "-", "").Replace(http.StatusText(code))] = code
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`&failure\{(?:status: *)?http\.Status(\w+)`).FindAllSubmatch(source, -1) {
			found++
			if code := statuses[string(match[1])]; !slices.Contains(ErrorStatuses, code) {
				t.Errorf("%s: Status%s (%d) is not in ErrorStatuses", file, match[1], code)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d failures were found", found)
	}
}
