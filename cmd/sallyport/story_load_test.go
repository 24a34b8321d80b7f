package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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
	reasons map[string]int // of failures
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
	c := &client{address: address, config: &tls.Config{RootCAs: roots, ServerName: "ec.sallyport.test"}}
	if way == "resumed" {
		c.config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	}
	defer c.close()
	for first := true; ctx.Err() == nil; first = false {
		t := (*l.now.Load())[way]
		began := time.Now()
		err := c.get(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil && !first && way == "resumed" && !c.conn.ConnectionState().DidResume {
			err = errors.New("the session was not resumed")
		}
		t.count(time.Since(began), err)
		if way != "open" || err != nil {
			c.close()
		}
		time.Sleep(pause)
		if err != nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// client makes one request after the other on a connection. net/http's would
// cover up a connection that is lost, by another one.
type client struct {
	address string
	config  *tls.Config
	conn    *tls.Conn // nil: the next request opens one
	in      *bufio.Reader
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
	}
	c.conn = nil
}

// get makes a request, which leads to a test backend.
func (c *client) get(ctx context.Context) error {
	if c.conn == nil {
		conn, err := (&tls.Dialer{Config: c.config}).DialContext(ctx, "tcp", c.address)
		if err != nil {
			return err
		}
		c.conn, c.in = conn.(*tls.Conn), bufio.NewReader(conn)
	}
	conn := c.conn // close may forget it meanwhile
	defer context.AfterFunc(ctx, func() { conn.NetConn().Close() })()
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c.conn, "GET /hello HTTP/1.1\r\nHost: "+c.config.ServerName+"\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body := readAll(answer)
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(body, "backend-") {
		return fmt.Errorf("%s: %q", answer.Status, body)
	}
	return nil
}

func (w *world) traffic(ts *testscript.TestScript, _ bool, args []string) {
	switch args[0] {
	case "start":
		w.load = startLoad(ts.Getenv("ADDR"), w.roots(ts), 1, 0)
		ts.Defer(w.load.stop)
	case "more": // until each way named, or all, has had some more successes
		for way, t := range *w.load.now.Load() {
			if len(args) > 1 && !slices.Contains(args[1:], way) {
				continue
			}
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
