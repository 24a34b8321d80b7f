package http1

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/proxy/message"
)

// Interim responses may come for as long as a backend works on a request, which it may say
// each second by a 102. So their rate is bounded: so many at once, and as many more each
// second; one with a long head counts for several.
const (
	interimBurst  = 32
	interimRate   = 8
	interimLength = 8 << 10 // bytes of a head that count for one
)

// Call is a request on a ClientConn and the way to its answer. It implements
// message.Call. One goroutine may write while another one reads. That writing
// failed does not mean that there is no answer: a backend may have given one
// and closed before it had read everything.
type Call struct {
	conn     *ClientConn
	response message.Response
	body     body
	toHead   bool          // the request is HEAD
	protocol []byte        // that it asks to switch to
	interim  float64       // 1xx that still may come at once
	lastly   time.Duration // when the last one came, since epoch
	doubtful bool          // one of them lets no other call follow
	read     bool          // the last head has been
	keep     time.Duration // what Keep-Alive says of the connection; see ClientConn.KeepAlive
	sentAll  atomic.Bool
	stopped  atomic.Bool // the backend takes no more of it
	answered atomic.Bool
	persists atomic.Bool // the last head has been read, and lets another call follow

	// mu guards the deadline of an answer's head, which counts from the moment
	// when the request has been sent as a whole.
	mu       sync.Mutex
	awaiting bool
	begun    bool // the answer has been waited for
	held     bool // the request is whole in the output, and leaves when that begins
}

func (x *Call) begin() {
	x.toHead, x.protocol, x.interim, x.doubtful, x.read = false, nil, interimBurst, false, false
	x.begun, x.held = false, false
	x.sentAll.Store(false)
	x.stopped.Store(false)
	x.answered.Store(false)
	x.persists.Store(false)
	x.body.begin(&x.conn.in, none, 0, limits{})
	x.conn.out.begin()
}

// Answered says whether any of an answer has come. As long as nothing has, an
// idempotent request can be sent again (RFC 9110 §9.2.2), if its body still can.
func (x *Call) Answered() bool { return x.answered.Load() }

// WriteHead implements message.Call. Where a body follows, the head is kept to
// leave with the first of it, or with a flush; but one that asks for 100 (Continue)
// leaves at once. It returns ErrHead for a head that would be misread,
// before anything of it is sent.
func (x *Call) WriteHead(r *message.Request, end bool) error {
	if !checkRequest(r) || end && r.Length > 0 {
		return ErrHead
	}
	x.toHead = string(r.Method) == http.MethodHead
	x.protocol = r.Protocol
	o := &x.conn.out
	o.bytes(r.Method)
	o.string(" ")
	o.bytes(r.Path)
	o.string(" HTTP/1.1\r\nHost: ")
	o.bytes(r.Authority)
	o.string("\r\n")
	o.fields(r.Fields)
	x.writeOptions(r)
	x.writeFraming(r, end)
	o.string("\r\n")
	switch {
	case end:
		return x.End(nil)
	case r.Expects:
		return o.flush()
	}
	return o.err
}

// checkRequest says whether a head's parts can be told apart once it is written.
func checkRequest(r *message.Request) bool {
	return len(r.Method) > 0 && all(r.Method, isToken) && string(r.Method) != http.MethodConnect &&
		len(r.Path) > 0 && sendable(r.Path) &&
		(r.Path[0] == '/' || string(r.Path) == "*" && string(r.Method) == http.MethodOptions) &&
		(len(r.Authority) == 0 || validHost(r.Authority)) &&
		(len(r.Protocol) == 0 || all(r.Protocol, isToken)) &&
		checkFields(r.Fields)
}

func (x *Call) writeOptions(r *message.Request) {
	o := &x.conn.out
	switch {
	case len(r.Protocol) > 0:
		o.string("Connection: Upgrade\r\nUpgrade: ")
		o.bytes(r.Protocol)
		o.string("\r\n")
	case r.Trailers:
		o.string("Connection: TE\r\nTE: trailers\r\n")
	}
}

func (x *Call) writeFraming(r *message.Request, end bool) {
	o := &x.conn.out
	switch {
	case r.Length == message.Unknown && !end:
		o.kind = inChunks
		o.string("Transfer-Encoding: chunked\r\n")
	case r.Length > 0 || mayHaveBody(r.Method):
		o.kind, o.left = counted, max(r.Length, 0)
		o.string("Content-Length: ")
		o.number(o.left, 10)
		o.string("\r\n")
	}
	if r.Expects && !end {
		o.string("Expect: 100-continue\r\n")
	}
}

// mayHaveBody says whether a request without a body says so (RFC 9110 §8.6).
func mayHaveBody(method []byte) bool {
	switch string(method) {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return true
	}
	return false
}

// WriteBody implements message.Sender. After an error the backend may still have
// answered: it gets as long for that as if it had got the whole.
func (x *Call) WriteBody(p []byte, flush bool) error {
	return x.noted(x.conn.out.body(p, flush))
}

// noted begins the answer's time where the request cannot go on.
func (x *Call) noted(err error) error {
	if err != nil && !x.stopped.Swap(true) {
		_ = x.boundAnswer()
	}
	return err
}

// boundAnswer begins the time that the backend has to answer.
func (x *Call) boundAnswer() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.awaiting {
		return x.conn.in.within(x.conn.cfg.Response)
	}
	return nil
}

// End implements message.Sender. Of a tunnel it closes the one half. An error is
// as one of WriteBody. A request of which nothing had to leave before may leave only
// when its answer is read.
func (x *Call) End(trailers []message.Field) error {
	o := &x.conn.out
	tunnel := o.kind == raw
	err := o.close(trailers)
	switch {
	case err != nil:
	case !tunnel && x.hold():
	default:
		err = o.flush()
	}
	if x.noted(err) != nil {
		return err
	}
	if tunnel {
		return closeWrite(x.conn.conn)
	}
	x.sentAll.Store(true)
	return x.boundAnswer()
}

// hold has the request leave with the first read of its answer, where that can
// be and nobody waits for the answer yet.
func (x *Call) hold() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.begun || x.conn.asker == nil || !x.conn.out.unseen {
		return false // and whoever waits looks at held
	}
	x.held = true
	return true
}

// ReadHead implements message.Call. An error is *Broken where the backend did
// not keep to the protocol, and otherwise the network's.
func (x *Call) ReadHead() (*message.Response, error) {
	if x.read {
		return nil, ErrHead
	}
	if err := x.await(true); err != nil {
		return nil, err
	}
	err := x.readHead()
	if x.await(false); err != nil {
		return nil, err
	}
	return &x.response, nil
}

// await bounds the wait for a head, unless the request is still being sent:
// End does it then.
func (x *Call) await(begin bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.awaiting = begin
	if !begin {
		return nil
	}
	x.begun = true
	switch {
	case x.sentAll.Load(), x.stopped.Load():
		return x.conn.in.within(x.conn.cfg.Response)
	}
	return x.conn.in.within(0)
}

func (x *Call) readHead() error {
	in, h := &x.conn.in, responseHead{cfg: x.conn.cfg}
	in.release()
	if in.buf == nil {
		in.makeRoom()
	}
	h.begin(in)
	for {
		more, err := h.parse(in)
		if err == nil && !more {
			err = x.takeHead(&h)
		}
		if err != nil {
			return (*Broken)(err)
		}
		if !more {
			return nil
		}
		buf := in.buf
		if err := x.readMore(); err != nil {
			return brokenOff(0, err)
		}
		x.answered.Store(true)
		if in.buf != buf {
			h.begin(in)
		}
	}
}

// readMore reads more of a head, and sends a request that was held for that.
func (x *Call) readMore() error {
	c := x.conn
	if !x.held {
		return c.in.more()
	}
	x.held = false
	o := &c.out
	o.unseen = false
	err := o.bound()
	if err == nil {
		err = c.in.ask(c.asker, o.buf.b[:o.n], c.asked)
	}
	if err != nil && o.err == nil {
		o.err = err
	}
	return err
}

func (x *Call) takeHead(h *responseHead) *Error {
	c := x.conn
	kind, err := h.finish(&c.in, &x.response, x.toHead, x.protocol)
	if err != nil {
		return err
	}
	start := c.in.r
	c.in.r = h.pos
	c.in.pin()
	r := &x.response
	if r.Status < 200 && r.Status != http.StatusSwitchingProtocols {
		x.doubtful = x.doubtful || !h.persists()
		return x.countInterim(h.pos - start)
	}
	x.read = true
	x.keep = parseKeepAlive(h.kept)
	l := limits{c.cfg.Read, c.cfg.MaxHead, c.cfg.MaxFields, true}
	if r.Status == http.StatusSwitchingProtocols {
		l.progress = 0
		c.out.kind = raw
	}
	x.body.begin(&c.in, kind, r.Length, l)
	x.persists.Store(kind != raw && h.persists() && !x.doubtful)
	return nil
}

// countInterim takes an interim response of so many bytes from what may come.
func (x *Call) countInterim(length int) *Error {
	now := time.Since(epoch)
	if x.interim < interimBurst {
		x.interim = min(x.interim+interimRate*(now-x.lastly).Seconds(), interimBurst)
	}
	x.lastly = now
	if x.interim -= float64(1 + length/interimLength); x.interim < 0 {
		return errManyHeads
	}
	return nil
}

// Body implements message.Call. It is empty until the last head has been read.
func (x *Call) Body() message.Body { return &x.body }

// Close implements message.Call. The memory of the call stays its own until
// ClientConn.Release.
func (x *Call) Close() {
	if !x.over() {
		x.conn.Close()
	}
}

// over says whether the call left nothing behind on its connection.
func (x *Call) over() bool {
	return x.sentAll.Load() && x.persists.Load() && x.body.whole.Load()
}
