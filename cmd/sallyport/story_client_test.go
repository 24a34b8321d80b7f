package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"
)

// curl runs the real one, silent but for errors, with every name leading to
// $ADDR and the token's CA trusted. Like exec, it fails the story if curl
// fails, or does not after a !.
func (w *world) curl(ts *testscript.TestScript, neg bool, args []string) {
	all := append([]string{"-sS", "--max-time", "60", "--cacert", ts.Getenv("CA"), "--connect-to", "::" + ts.Getenv("ADDR")}, args...)
	err := ts.Exec("curl", all...)
	if (err != nil) != neg {
		ts.Fatalf("curl %s: %v", strings.Join(args, " "), err)
	}
}

func (w *world) p11(ts *testscript.TestScript, _ bool, args []string) { w.token.Tool(args...) }

// issue writes FILE, a certificate for a key of the token.
func (w *world) issue(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: issue KEY ID FILE [CHANGE]")
	}
	change := func(*x509.Certificate) {}
	if len(args) > 3 {
		switch args[3] {
		case "expired":
			change = func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
			}
		case "future":
			change = func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }
		case "client":
			change = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
		default:
			ts.Fatalf("no change %q", args[3])
		}
	}
	certificate := w.token.Issue(w.token.Public(args[0], args[1]), change)
	b, err := os.ReadFile(w.token.WriteChain("issued.pem", certificate))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]+".der"), certificate.Raw, 0o600))
	ts.Setenv("SERIAL", fmt.Sprintf("%x", certificate.SerialNumber))
}

// secrets greps files for the token's PIN.
func (w *world) secrets(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		if text := ts.ReadFile(name); strings.Contains(text, w.token.PIN) {
			ts.Fatalf("%s shows the PIN", name)
		}
	}
}

// waitFor waits until a file, or a page of the admin listener, has the text.
func (w *world) waitFor(ts *testscript.TestScript, _ bool, args []string) {
	read := func() string { return ts.ReadFile(args[0]) }
	if strings.HasPrefix(args[0], "http://") {
		read = func() string {
			answer, err := http.Get(args[0])
			if err != nil {
				return err.Error()
			}
			defer answer.Body.Close()
			return fmt.Sprintf("%d\n%s", answer.StatusCode, readAll(answer))
		}
	}
	deadline := time.Now().Add(patience)
	for !strings.Contains(read(), args[1]) {
		if time.Now().After(deadline) {
			ts.Fatalf("%s lacks %q:\n%s", args[0], args[1], read())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *world) tls(ts *testscript.TestScript) *tls.Config {
	pem, err := os.ReadFile(filepath.Join(w.token.Dir, "ca.pem"))
	ts.Check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots}
}

func (w *world) client(ts *testscript.TestScript, c *tls.Config) *http.Client {
	address := ts.Getenv("ADDR")
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: c, ForceAttemptHTTP2: false,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
	}}
}

// webSocket opens a WebSocket, and sees some messages come back.
func (w *world) webSocket(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := w.client(ts, w.tls(ts))
	defer client.CloseIdleConnections()
	c, _, err := websocket.Dial(ctx, args[0], &websocket.DialOptions{HTTPClient: client})
	if (err != nil) != neg {
		ts.Fatalf("websocket %s: %v", args[0], err)
	}
	if err != nil {
		return
	}
	defer c.CloseNow()
	for _, size := range []int{1, 1000, 30000} {
		message := strings.Repeat("x", size)
		ts.Check(c.Write(ctx, websocket.MessageText, []byte(message)))
		_, got, err := c.Read(ctx)
		ts.Check(err)
		if string(got) != message {
			ts.Fatalf("%d bytes came back as %d", size, len(got))
		}
	}
	ts.Check(c.Close(websocket.StatusNormalClosure, ""))
}

// load makes requests without a pause, in three ways: on open connections, on
// new ones that resume, and on new ones that shake hands in full.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	ways   map[string]*tally
}

type tally struct {
	good, bad atomic.Int64
	mu        sync.Mutex
	last      error
}

func (t *tally) count(err error) {
	if err == nil {
		t.good.Add(1)
		return
	}
	t.bad.Add(1)
	t.mu.Lock()
	t.last = err
	t.mu.Unlock()
}

func (t *tally) lastError() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

func (w *world) traffic(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "start" {
		w.startTraffic(ts)
		return
	}
	if args[0] == "more" { // until each way named, or all, has had some more successes
		for name, t := range w.load.ways {
			if len(args) > 1 && !slices.Contains(args[1:], name) {
				continue
			}
			want, deadline := t.good.Load()+20, time.Now().Add(patience)
			for t.good.Load() < want {
				if time.Now().After(deadline) {
					ts.Fatalf("%s traffic does not get through any more: %v", name, t.lastError())
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		return
	}
	w.load.cancel()
	w.load.done.Wait()
	for name, t := range w.load.ways {
		ts.Logf("%s: %d requests, %d failed, last error %v", name, t.good.Load()+t.bad.Load(), t.bad.Load(), t.lastError())
		if t.good.Load() == 0 {
			ts.Fatalf("%s traffic never got through", name)
		}
		// A story names the ways that must not have lost anything.
		for _, strict := range args[1:] {
			if (strict == name || strict == "all") && t.bad.Load() > 0 {
				ts.Fatalf("%s traffic lost %d of %d requests, the last by %v", name, t.bad.Load(), t.good.Load()+t.bad.Load(), t.lastError())
			}
		}
	}
}

func (w *world) startTraffic(ts *testscript.TestScript) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, ways: map[string]*tally{"open": {}, "resumed": {}, "full": {}}}
	w.load = l
	ts.Defer(func() {
		cancel()
		l.done.Wait()
	})
	for name, t := range l.ways {
		c := w.tls(ts)
		if name == "resumed" {
			c.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		}
		const url = "https://ec.sallyport.test/hello"
		client, open := w.client(ts, c), &openConnection{address: ts.Getenv("ADDR"), tls: c}
		request := func() error {
			defer client.CloseIdleConnections()
			return get(ctx, client, url)
		}
		if name == "open" {
			request = func() error { return open.get(ctx, url) }
		}
		l.done.Go(func() {
			defer open.close()
			for ctx.Err() == nil {
				err := request()
				if ctx.Err() != nil {
					return
				}
				t.count(err)
				if err != nil {
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
}

// readAll is the body as text; one that breaks off shows the error instead.
func readAll(r *http.Response) string {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func get(ctx context.Context, c *http.Client, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := c.Do(r)
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
