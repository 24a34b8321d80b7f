package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"sallyport/proxy/http1"
	"sallyport/proxy/http2"
	"sallyport/proxy/message"
)

// exchange is one request and what becomes of it. Its record is filled on the
// request's way (handler.go) by the request's goroutine, and read once, by
// finish. The rest is for other goroutines as well.
type exchange struct {
	record
	upload upload

	gone   atomic.Bool // the client gave it up
	onGone func()      // notes that; made once
	waits  waits       // what the request's goroutine waits in
}

// record is what is known of a request.
type record struct {
	server   *Server
	listener *listener
	conn     *conn
	site     *site // nil: none serves the name
	client   message.Exchange
	in       *message.Request

	began      time.Time
	requestID  []byte // X-Request-ID
	path       []byte // as it came, without the query
	target     []byte // path and query for the backend where they are not as they came; nil: they are
	route      *route
	forwards   int              // that Max-Forwards allows, or noForwards
	out        message.Request  // what the backend gets
	head       message.Response // what the client gets
	tries      int
	resends    int           // after a backend had got it
	hinted     bool          // the client has got an interim response
	firstAsked time.Duration // when the first try began, since epoch
	trying     *forwarder    // whose balancer gets ticket back; nil: no try is under way
	ticket     uint64
	connecting time.Duration // for how long connections were waited for
	handed     bool          // a dial has the ticket
	next       picked        // what is tried next
	link       link          // of the try
	backend    string
	asked      time.Duration // when the last try began, since epoch
	loan       http1.Loan    // what the response's fields are in, once the link has been released
	wait       time.Duration // from then to the answer's head
	tunnel     *tunnel
	watched    bool   // somebody tells when the client leaves
	departure  uint64 // its ticket of Server.departures; 0: none
	key        []byte // of a WebSocket between two versions of HTTP

	status   int // of the answer that was begun; 0: none
	bytesOut int64
	broken   bool     // the answer was broken off
	spoilt   bool     // a goroutine has panicked: others may hold the record
	outcome  *failure // nil: all went well

	scratch
}

// scratch is memory that the next exchange uses again.
type scratch struct {
	fields []message.Field // of the request that is sent on
	answer []message.Field // and of the answer
	arena  []byte          // values that are made here
	tried  []string        // backends
}

// maxArena is what of an arena is kept: forwarding fields are shorter.
const maxArena = 4 << 10

var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.onGone = func() {
		x.gone.Store(true)
		x.waits.interrupt()
	}
	return x
}}

// newExchange begins the record of a request; free ends it.
func newExchange(l *listener, c *conn, client message.Exchange) *exchange {
	x := exchanges.Get().(*exchange)
	x.server, x.listener, x.conn, x.site, x.client = l.server, l, c, c.site, client
	x.in = client.Request()
	x.began = time.Now()
	x.path, _ = cutQuery(x.in.Path)
	x.nameRequest()
	client.OnGone(x.onGone)
	return x
}

// free gives the record's memory back. Nobody may hold it any more.
func (x *exchange) free() {
	if x.departure != 0 {
		x.server.departures.unwatch(x)
	}
	if x.spoilt {
		return
	}
	if x.client != nil {
		x.client.OnGone(nil)
	}
	clear(x.fields)
	clear(x.answer)
	clear(x.tried)
	kept := scratch{x.fields[:0], x.answer[:0], x.arena[:0], x.tried[:0]}
	if cap(kept.arena) > maxArena {
		kept.arena = nil
	}
	x.record = record{}
	x.scratch = kept
	x.upload.reset()
	if x.gone.Load() {
		x.gone.Store(false)
	}
	x.waits.reset()
	exchanges.Put(x)
}

// left returns why nobody waits for the answer any more, or nil: the client is
// gone or broke its body, or the shutdown's deadline has passed.
func (x *exchange) left() error {
	if x.server.cut.Load() {
		return errCut
	}
	if f := x.upload.fault.Load(); f != nil {
		return f
	}
	if x.gone.Load() || !x.broken && x.conn.gone != nil && x.conn.gone() {
		return x.departed()
	}
	return nil
}

// departed is what is said of a client that is gone. One that broke its body has been
// cut off by its codec.
func (x *exchange) departed() *failure {
	if x.in.Length != 0 && http2.Malformed(x.client) {
		return errBodyBroken
	}
	return errClientGone
}

// breakOff ends the answer so that the client does not take it for whole.
func (x *exchange) breakOff() {
	x.breaks()
	x.client.Reset()
}

// breaks comes before the reset, whose end of the upload must not be taken for the
// client's doing.
func (x *exchange) breaks() {
	x.broken = true
	x.upload.over.Store(true)
}

// breakOffLike is breakOff as the backend broke off: gRPC tells a call that was
// cancelled from one that failed by HTTP/2's code.
func (x *exchange) breakOffLike(err error) {
	x.breaks()
	http2.ResetLike(x.client, err)
}

// finish ends the record: the log and the metrics get it.
func (x *exchange) finish() {
	x.server.metrics.request(x)
	x.logAccess()
}

// finalStatus is what logs and metrics say: what was sent, or 499 where the client left
// before anything was.
func (x *exchange) finalStatus() int {
	switch {
	case x.status != 0:
		return x.status
	case x.outcome != nil:
		return x.outcome.status
	}
	return statusClientGone
}

func (x *exchange) outcomeText() string {
	if x.outcome == nil {
		return "ok"
	}
	return x.outcome.outcome
}

// bytes are those of the bodies, or of the tunnel.
func (x *exchange) bytes() (in, out int64) {
	if x.tunnel != nil {
		return x.tunnel.toBackend.Load(), x.tunnel.toClient.Load()
	}
	return x.upload.bytes.Load(), x.bytesOut
}

func (x *exchange) poolName() string {
	if x.route == nil {
		return ""
	}
	return x.route.pool.Name
}

func (x *exchange) routePath() string {
	if x.route == nil {
		return ""
	}
	return x.route.path
}

// waits is what a request's goroutine waits in, so that others can wake it.
type waits struct {
	mu          sync.Mutex
	wake        interface{ interrupt() }
	interrupted bool
}

// in says what is waited in from now on; nil is nothing. Where the wait was
// interrupted before, it is so at once.
func (w *waits) in(what interface{ interrupt() }) {
	w.mu.Lock()
	w.wake = what
	if w.interrupted && what != nil {
		what.interrupt()
	}
	w.mu.Unlock()
}

// interrupt wakes the goroutine, now or as soon as it waits.
func (w *waits) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = true
	if w.wake != nil {
		w.wake.interrupt()
	}
}

func (w *waits) reset() {
	w.mu.Lock()
	w.wake, w.interrupted = nil, false
	w.mu.Unlock()
}
