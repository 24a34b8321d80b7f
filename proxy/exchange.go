package proxy

import (
	"context"
	"net/http"
	"time"
)

// exchange is one request and what becomes of it. It is filled on the
// request's way and read once, by finish. It belongs to the handler's goroutine.
type exchange struct {
	server   *Server
	listener *listener
	conn     *conn
	r        *http.Request
	w        *answerWriter
	body     *clientBody // nil when the request has none

	began   time.Time
	client  string
	host    string // as routed; "" when the authority was not usable
	path    string // as it came, without the query
	query   string
	ask     bool // a "?" came, if only with nothing after it
	route   *route
	backend string
	tries   int
	wait    time.Duration // from the last try's start to the answer's head
	try     *try          // the one under way or that answered
	tunnel  *tunnel

	status  int // overrides the writer's: 499, or 101
	outcome string
}

type exchangeKey struct{}

func (x *exchange) attach(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

func exchangeFrom(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// left returns why nobody waits for the answer any more: the client is gone, or
// the shutdown's deadline passed. nil while somebody does.
func (x *exchange) left() error {
	if x.r.Context().Err() == nil {
		return nil
	}
	if context.Cause(x.r.Context()) == error(errCut) {
		return errCut
	}
	if x.body.fault() == errBodySlow {
		return nil // net/http takes it for gone; it is there to be told
	}
	return errClientGone
}

// finish ends the exchange, also while a panic passes: the try is released
// whatever became of it, then log and metrics are written.
func (x *exchange) finish() {
	if x.tunnel != nil {
		x.tunnel.Close()
		if why := x.tunnel.cutBy(); why != nil {
			x.outcome = failureOf(why).outcome
		}
	}
	if x.try != nil {
		x.try.end(nil)
	}
	x.w.watch.stop()
	if x.body != nil {
		x.body.watch.stop()
	}
	if x.tunnel == nil && (x.r.ProtoMajor == 1 || x.r.Context().Err() == nil) {
		// What net/http still does with the connection after the handler has
		// bounds as well: the last flush, and reading off a body that is left.
		// A stream that is already closed would be kept alive by its timers.
		x.w.rc.SetWriteDeadline(time.Now().Add(x.listener.Timeouts.Write))
		if !x.body.whole() {
			x.w.rc.SetReadDeadline(time.Now().Add(x.listener.Timeouts.Read))
		}
	}
	if x.w.err != nil && x.outcome == "" {
		x.outcome = failureOf(x.w.err).outcome
	}
	if x.outcome == "" {
		x.outcome = "ok"
	}
	x.server.metrics.request(x)
	x.logAccess()
}

func (x *exchange) finalStatus() int {
	switch {
	case x.status != 0:
		return x.status
	case x.w.status != 0:
		return x.w.status
	}
	return statusClientGone
}

func (x *exchange) bytesIn() int64 {
	if x.tunnel != nil {
		return x.tunnel.toBackend.Load()
	}
	if x.body != nil {
		return x.body.bytes.Load()
	}
	return 0
}

func (x *exchange) bytesOut() int64 {
	if x.tunnel != nil {
		return x.tunnel.toClient.Load()
	}
	return x.w.bytes
}

func (x *exchange) poolName() string {
	if x.route == nil {
		return ""
	}
	return x.route.pool.Name
}
