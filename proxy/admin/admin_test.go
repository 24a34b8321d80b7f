package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(asNobody); path != "" {
		askAsNobody(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// start runs an admin server for the test and returns its base URL.
func start(t testing.TB, c Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Listener = l
	run(t, c)
	return "http://" + l.Addr().String()
}

// run runs an admin server until the test ends.
func run(t testing.TB, c Config) { runWith(t, c, func(*Server) {}) }

// runWith is run for a server that is changed first.
func runWith(t testing.TB, c Config, change func(*Server)) {
	t.Helper()
	if c.Gatherer == nil {
		c.Gatherer = prometheus.NewRegistry()
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	change(s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// ask sends one request, host overriding the Host field when it is not empty.
func ask(t testing.TB, method, url, host string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestAdmin_MetricsAreServed(t *testing.T) {
	r := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_test_total"})
	r.MustRegister(c)
	c.Inc()
	base := start(t, Config{Gatherer: r})
	if status, body := ask(t, "GET", base+"/metrics", ""); status != 200 || !strings.Contains(body, "sallyport_test_total 1") {
		t.Errorf("%d %s", status, body)
	}
}

func TestAdmin_ReadinessFollowsItsReason(t *testing.T) {
	var down atomic.Bool
	base := start(t, Config{Ready: func() error {
		if down.Load() {
			return errors.New("token edge is down")
		}
		return nil
	}})
	if status, body := ask(t, "GET", base+"/readyz", ""); status != 200 || body != "ok\n" {
		t.Errorf("%d %q", status, body)
	}
	down.Store(true)
	if status, body := ask(t, "GET", base+"/readyz", ""); status != 503 || body != "token edge is down\n" {
		t.Errorf("%d %q", status, body)
	}
	if status, _ := ask(t, "GET", base+"/healthz", ""); status != 200 {
		t.Errorf("healthz followed readiness: %d", status)
	}
}

// Who asks with curl sees what it says in a terminal.
func TestAdmin_SaysNothingThatATerminalObeys(t *testing.T) {
	const vendors = "the library says \u009b31m\u202E\x7f\x1b[2J"
	base := start(t, Config{
		Ready:  func() error { return errors.New(vendors) },
		Status: func() Status { return Status{NotUp: vendors} },
	})
	for _, page := range []string{"/readyz", "/status"} {
		_, body := ask(t, "GET", base+page, "")
		if !strings.Contains(body, "the library says") {
			t.Errorf("%s: %q", page, body)
		}
		for _, r := range body {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s says %U", page, r)
			}
		}
	}
}

// Checks of balancers name no host, by either version of HTTP.
func TestAdmin_AnswersWhoNamesNoHost(t *testing.T) {
	base := start(t, Config{})
	for _, request := range []string{"GET /healthz HTTP/1.0\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, request)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%q: %s", request, res.Status)
		}
	}
}

func TestAdmin_AnswersOnlyWhatItKnows(t *testing.T) {
	base := start(t, Config{})
	for _, c := range []struct {
		method, path, host string
		want               int
	}{
		{"GET", "/healthz", "", 200},
		{"HEAD", "/healthz", "", 200},
		{"POST", "/healthz", "", 405},
		{"DELETE", "/metrics", "", 405},
		{"GET", "/", "", 404},
		{"GET", "/debug/pprof/", "", 404},
		{"GET", "/healthz", "localhost:9180", 200},
		{"GET", "/healthz", "127.0.0.9", 200},
		{"GET", "/healthz", "[::1]:9180", 200},
		{"GET", "/healthz", "rebound.example.org", 421},
		{"GET", "/healthz", "localhost.example.org", 421},
		{"GET", "/healthz", "192.0.2.1", 421},
	} {
		if got, _ := ask(t, c.method, base+c.path, c.host); got != c.want {
			t.Errorf("%s %s host %q: got %d, want %d", c.method, c.path, c.host, got, c.want)
		}
	}
}
