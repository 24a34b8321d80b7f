package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/proxy/message"
)

// tunnel is a connection that was switched to another protocol: bytes go both
// ways until both sides have ended, one of them fails, or nothing comes for the
// listener's tunnel timeout.
type tunnel struct {
	server  *Server
	conn    *conn // the client's, which may have others
	client  message.Exchange
	backend message.Call
	idle    *watch

	toBackend atomic.Int64
	toClient  atomic.Int64

	once sync.Once
	why  atomic.Pointer[failure] // it was cut
}

// switchProtocols opens the tunnel that a 101 stands for. A backend that
// switches unasked, or to another protocol, broke its answer: what follows on that
// connection would be HTTP to neither side.
func (f *forwarder) switchProtocols(x *exchange, k link, head *message.Response) (blame, err error) {
	defer f.discard(x, k)
	if !bytes.Equal(head.Protocol, webSocket) || !bytes.Equal(x.out.Protocol, webSocket) {
		return f.explain(x, false, fmt.Errorf("%w: it switched protocols unasked", errBackendBroken))
	}
	if err := x.editSwitch(head); err != nil {
		return f.explain(x, false, err)
	}
	t := &tunnel{server: x.server, conn: x.conn, client: x.client, backend: k}
	if !x.server.tunnels.add(t) {
		return nil, errCut
	}
	defer x.server.tunnels.remove(t)
	x.tunnel = t
	if x.begins(head.Status); x.in.Major == 2 {
		x.status = http.StatusOK // which says the same there
	}
	if err := x.client.WriteHead(x.editAnswer(head), false); err != nil {
		return nil, x.writeFailed(err)
	}
	t.run(x.listener.Timeouts.Tunnel)
	if why := t.why.Load(); why != nil {
		return nil, why
	}
	return nil, nil
}

// run carries bytes both ways and returns when that is over, with nothing left
// running.
func (t *tunnel) run(limit time.Duration) {
	t.idle = newWatch(limit, func() { go t.expire() })
	t.idle.begin()
	defer t.idle.stop()
	var up sync.WaitGroup
	up.Go(func() { t.carry(t.client.Body(), t.backend, &t.toBackend) })
	t.carry(t.backend.Body(), t.client, &t.toClient)
	up.Wait()
}

// carry passes one direction on. Its end is passed on too; a failure ends both.
func (t *tunnel) carry(from message.Body, to message.Sender, count *atomic.Int64) {
	defer t.server.caught(inTunnel, func() { t.cut(errPanicked) })
	var buffer freight
	defer buffer.free()
	for {
		n, err := from.Read(buffer.room())
		switch {
		case err == io.EOF:
			if to.End(nil) != nil {
				t.end()
			}
			return
		case err != nil || to.WriteBody(buffer.room()[:n], true) != nil:
			t.end()
			return
		}
		count.Add(int64(n))
		buffer.carried(n)
		t.idle.begin()
	}
}

// end breaks both sides off; only the first call counts.
func (t *tunnel) end() {
	t.once.Do(func() {
		t.backend.Close()
		t.client.Reset()
	})
}

// cut ends the tunnel from outside.
func (t *tunnel) cut(why *failure) {
	t.why.CompareAndSwap(nil, why)
	t.end()
}

// expire is a goroutine of its own.
func (t *tunnel) expire() {
	defer t.server.caught(inTunnel, func() {})
	t.cut(errTunnelIdle)
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

// count is how many are open, and how many connections of clients have some.
func (ts *tunnels) count() (tunnels, conns int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	with := map[*conn]struct{}{}
	for t := range ts.open {
		with[t.conn] = struct{}{}
	}
	return len(ts.open), len(with)
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
