package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// wantsWebSocket reports whether r asks for the one upgrade that is passed on.
func wantsWebSocket(r *http.Request) bool {
	up := r.Header["Upgrade"]
	return r.ProtoMajor == 1 && r.ProtoMinor == 1 && r.Method == http.MethodGet && r.ContentLength == 0 &&
		len(up) == 1 && strings.EqualFold(up[0], "websocket")
}

// tunnel is the backend's side of an upgraded connection, the body of its 101
// answer. ReverseProxy copies both ways through it and closes it in the end. What a
// client sends before it has the 101 is lost there; RFC 6455 §4.1 forbids it.
type tunnel struct {
	backend   io.ReadWriteCloser
	x         *exchange
	try       *try
	idle      *watch
	toBackend atomic.Int64
	toClient  atomic.Int64

	once sync.Once
	mu   sync.Mutex
	why  error // it was cut
}

// openTunnel puts a tunnel in the place of res's body. A backend that switches
// protocols unasked, or to another one, broke its answer: what follows on that
// connection would be HTTP to neither side.
func (x *exchange) openTunnel(res *http.Response) error {
	backend, ok := res.Body.(io.ReadWriteCloser)
	if !ok || !wantsWebSocket(x.r) || res.Request.Header.Get("Upgrade") == "" ||
		!strings.EqualFold(res.Header.Get("Upgrade"), "websocket") ||
		!httpguts.HeaderValuesContainsToken(res.Header["Connection"], "upgrade") {
		err := fmt.Errorf("%w: it switched protocols unasked", errBackendBroken)
		x.try.end(err)
		return err
	}
	t := &tunnel{backend: backend, x: x, try: x.try}
	t.idle = newWatch(x.listener.Timeouts.Tunnel, func() { go t.cut(errTunnelIdle) })
	t.idle.begin()
	if !x.server.tunnels.add(t) {
		t.idle.stop()
		x.try.end(nil)
		return errCut
	}
	x.tunnel = t
	x.status = http.StatusSwitchingProtocols
	res.Body = t
	return nil
}

func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.backend.Read(p)
	t.toClient.Add(int64(n))
	t.idle.begin()
	return n, err
}

func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.backend.Write(p)
	t.toBackend.Add(int64(n))
	t.idle.begin()
	return n, err
}

// CloseWrite tells the backend that the client will send no more. What the
// backend still has to say goes on.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.backend.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return t.backend.Close()
}

// Close ends the tunnel; only the first call counts.
func (t *tunnel) Close() error {
	var err error
	t.once.Do(func() {
		t.idle.stop()
		t.x.server.tunnels.remove(t)
		err = t.backend.Close()
		t.try.end(nil)
	})
	return err
}

// cut ends the tunnel from outside. Closing the backend's side wakes one of the
// copies; the client's deadlines wake one that waits for the client, leaving it
// a moment to be told by close_notify.
func (t *tunnel) cut(why error) {
	t.mu.Lock()
	if t.why == nil {
		t.why = why
	}
	t.mu.Unlock()
	t.Close()
	t.x.conn.SetWriteDeadline(time.Now().Add(time.Second))
	t.x.conn.SetReadDeadline(past)
}

func (t *tunnel) cutBy() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.why
}

// tunnels are the open ones.
type tunnels struct {
	mu     sync.Mutex
	open   map[*tunnel]struct{}
	closed bool
}

// add reports false when no tunnels are opened any more.
func (ts *tunnels) add(t *tunnel) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return false
	}
	if ts.open == nil {
		ts.open = map[*tunnel]struct{}{}
	}
	ts.open[t] = struct{}{}
	return true
}

func (ts *tunnels) remove(t *tunnel) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.open, t)
}

// cutAll cuts what is open, refuses what comes later, and returns how many it cut.
func (ts *tunnels) cutAll() int {
	ts.mu.Lock()
	ts.closed = true
	var all []*tunnel
	for t := range ts.open {
		all = append(all, t)
	}
	ts.mu.Unlock()
	for _, t := range all {
		t.cut(errCut)
	}
	return len(all)
}
