package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// errUnsent marks the error of a try that left no trace: not a byte went to
// the backend and the request's body is whole.
var errUnsent = errors.New("nothing was sent")

// try is one attempt to have a request answered by one backend. It lasts until
// the answer's body has ended.
type try struct {
	f       *forwarder
	x       *exchange
	address string
	body    *tryBody // nil when the request has none
	cancel  context.CancelFunc

	// The connection the request was given last, and what had been written
	// to it before. The transport may take a second one when the first turns
	// out to be dead.
	conn   *backendConn
	before int64

	once    sync.Once
	release func(error)
}

func newTry(f *forwarder, x *exchange, address string, release func(error)) *try {
	return &try{f: f, x: x, address: address, release: release, cancel: func() {}}
}

// end releases the backend; only the first call counts.
func (t *try) end(err error) {
	t.once.Do(func() {
		t.release(err)
		t.cancel()
	})
}

// roundTrip sends r and waits for the answer's head. On an error the try is over.
func (t *try) roundTrip(r *http.Request) (*http.Response, error) {
	var ctx context.Context
	ctx, t.cancel = context.WithCancel(r.Context())
	// Both hooks run in this goroutine.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { t.conn = nil },
		GotConn: t.gotConn,
	})
	out := r.WithContext(ctx)
	u := *r.URL
	u.Host = t.address
	out.URL = &u
	if r.Body != nil {
		t.body = &tryBody{source: r.Body}
		out.Body = t.body
	}
	began := time.Now()
	res, err := t.f.transport.RoundTrip(out)
	t.x.wait = time.Since(began)
	if err != nil {
		blame, err := t.explain(err)
		t.end(blame)
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols { // else see tunnel.go
		res.Body = &answerBody{
			ReadCloser: res.Body, try: t,
			silence: newWatch(t.x.listener.Timeouts.Tunnel, t.cancel),
		}
	}
	return res, nil
}

func (t *try) gotConn(info httptrace.GotConnInfo) {
	t.conn, _ = info.Conn.(*backendConn)
	if t.conn != nil {
		t.before = t.conn.written.Load()
	}
	if r, ok := t.f.Balancer.(reacher); ok && !info.Reused {
		r.Reached(t.address)
	}
}

// explain says why there is no answer: to the balancer (see Balancer.Pick) and
// to the client.
func (t *try) explain(err error) (blame, told error) {
	whole := t.body.detach()
	if left := cmp.Or(t.x.left(), t.x.body.fault()); left != nil {
		if t.conn == nil {
			return context.Canceled, left
		}
		return nil, left
	}
	cause := errBackendBroken
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		cause = errConnectSlow
	case op != nil && op.Op == "dial":
		cause = errUnreachable
	case isTimeout(err):
		cause = errResponseSlow
	}
	told = fmt.Errorf("%w: %w", cause, err)
	if whole && (t.conn == nil || t.conn.written.Load() == t.before) {
		told = fmt.Errorf("%w: %w", errUnsent, told)
	}
	return err, told
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// tryBody lends the request's body to one try. When the try is over the
// transport may still hold it and must not read from under the next one.
type tryBody struct {
	source io.Reader

	mu      sync.Mutex
	touched bool
	closed  bool
}

func (b *tryBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.touched = true
	b.mu.Unlock()
	return b.source.Read(p)
}

// Close ends the loan; the body itself is closed by the server.
func (b *tryBody) Close() error {
	b.detach()
	return nil
}

// detach ends the loan and reports whether the body is still untouched.
func (b *tryBody) detach() (whole bool) {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return !b.touched
}

// answerBody is an answer's body on its way. Its end, whichever it is, ends the try.
type answerBody struct {
	io.ReadCloser
	try     *try
	silence *watch
}

func (b *answerBody) Read(p []byte) (int, error) {
	b.silence.begin()
	n, err := b.ReadCloser.Read(p)
	b.silence.end()
	if err == nil {
		return n, nil
	}
	b.silence.stop()
	t := b.try
	switch left := cmp.Or(t.x.left(), t.x.body.fault()); {
	case err == io.EOF:
		t.end(nil)
	case left != nil: // the client's doing, or the shutdown's
		t.x.outcome = failureOf(left).outcome
		t.end(nil)
	default:
		told := errBackendBroken
		if b.silence.hasExpired() {
			told = errBackendSilent
		}
		t.x.outcome = told.outcome
		t.f.log.Warn("answer broken off", "pool", t.f.Name, "backend", t.address, "cause", told.outcome, "error", err)
		t.end(fmt.Errorf("%w: %w", told, err))
	}
	return n, err
}

// Close may come before the end, when the client went away.
func (b *answerBody) Close() error {
	b.silence.stop()
	err := b.ReadCloser.Close()
	b.try.end(nil)
	return err
}

// backendConn counts what is written, so that a failed try knows whether the
// backend can have seen any of it, and bounds each write.
type backendConn struct {
	net.Conn
	stall   time.Duration
	written atomic.Int64
}

func (c *backendConn) Write(p []byte) (int, error) {
	c.written.Add(int64(len(p))) // before the write: in doubt it was sent
	c.Conn.SetWriteDeadline(time.Now().Add(c.stall))
	return c.Conn.Write(p)
}

// CloseWrite passes a tunnel's half-close on.
func (c *backendConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}
