package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// ways are the three in which a load makes requests: on connections that stay
// open, on new ones that resume, and on new ones that shake hands in full.
var ways = []string{"open", "resumed", "full"}

// load makes requests all the time, in all ways.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	now    atomic.Pointer[tallies]
}

// tallies are the tally of each way.
type tallies map[string]*tally

// tally counts requests of one way.
type tally struct {
	good, bad atomic.Int64

	mu      sync.Mutex
	last    error
	reasons map[string]int // of failures, without what net/http puts around them
	failed  time.Duration  // the longest that one took to fail
	slowest time.Duration  // the longest that one took to succeed
}

func (t *tally) count(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.slowest = max(t.slowest, took)
		t.good.Add(1)
		return
	}
	t.failed = max(t.failed, took)
	t.last = err
	if wrapped := new(url.Error); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if t.reasons == nil {
		t.reasons = make(map[string]int)
	}
	t.reasons[err.Error()]++
	t.bad.Add(1)
}

// why is the last failure.
func (t *tally) why() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// startLoad begins with so many clients for each way, each of which pauses
// between two requests.
func startLoad(address string, roots *x509.CertPool, clients int, pause time.Duration) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	l.turn()
	for _, way := range ways {
		for range clients {
			l.done.Go(func() { l.ask(ctx, way, address, roots, pause) })
		}
	}
	return l
}

// turn begins to count anew, and returns the new tallies. Requests under way
// count where they began.
func (l *load) turn() tallies {
	fresh := make(tallies)
	for _, way := range ways {
		fresh[way] = new(tally)
	}
	l.now.Store(&fresh)
	return fresh
}

func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// ask is one client.
func (l *load) ask(ctx context.Context, way, address string, roots *x509.CertPool, pause time.Duration) {
	c := &tls.Config{RootCAs: roots}
	if way == "resumed" {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	}
	client := clientOf(address, c)
	defer client.CloseIdleConnections()
	for first := true; ctx.Err() == nil; first = false {
		t := (*l.now.Load())[way]
		began := time.Now()
		state, err := get(ctx, client, "https://ec.sallyport.test/hello")
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil || first:
		case way == "open" && !state.reused:
			err = errors.New("the open connection was lost")
		case way == "resumed" && !state.resumed:
			err = errors.New("the session was not resumed")
		}
		t.count(time.Since(began), err)
		if way != "open" {
			client.CloseIdleConnections()
		}
		time.Sleep(pause)
		if err != nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func (w *world) traffic(ts *testscript.TestScript, _ bool, args []string) {
	switch args[0] {
	case "start":
		w.load = startLoad(ts.Getenv("ADDR"), w.roots(ts), 1, 0)
		ts.Defer(w.load.stop)
	case "more": // until each way has had some more successes
		for way, t := range *w.load.now.Load() {
			want, deadline := t.good.Load()+20, time.Now().Add(patience)
			for t.good.Load() < want {
				if time.Now().After(deadline) {
					ts.Fatalf("%s traffic does not get through any more: %v", way, t.why())
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	case "stop":
		w.load.stop()
		for way, t := range *w.load.now.Load() {
			good, bad := t.good.Load(), t.bad.Load()
			ts.Logf("%s: %d requests, %d failed, last error %v", way, good+bad, bad, t.why())
			if good == 0 {
				ts.Fatalf("%s traffic never got through", way)
			}
			// A story names the ways that must not have lost anything.
			for _, strict := range args[1:] {
				if (strict == way || strict == "all") && bad > 0 {
					ts.Fatalf("%s traffic lost %d of %d requests, the last by %v", way, bad, good+bad, t.why())
				}
			}
		}
	}
}

// rootsOf trusts the test CAs of tokens' folders.
func rootsOf(dirs ...string) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	for _, dir := range dirs {
		pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
		if err != nil {
			return nil, err
		}
		roots.AppendCertsFromPEM(pem)
	}
	return roots, nil
}

// clientOf leads all names to one address.
func clientOf(address string, c *tls.Config) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: c, ForceAttemptHTTP2: false,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
	}}
}

// connection is what a request was made on.
type connection struct{ reused, resumed bool }

// get asks for a URL that leads to a test backend.
func get(ctx context.Context, c *http.Client, url string) (on connection, err error) {
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { on.reused = i.Reused }}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodGet, url, nil)
	if err != nil {
		return on, err
	}
	answer, err := c.Do(r)
	if err != nil {
		return on, err
	}
	defer answer.Body.Close()
	on.resumed = answer.TLS.DidResume
	body := readAll(answer)
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(body, "backend-") {
		return on, fmt.Errorf("%s: %q", answer.Status, body)
	}
	return on, nil
}
