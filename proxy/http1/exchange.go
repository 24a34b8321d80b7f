package http1

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"sallyport/proxy/message"
)

// Exchange is a request on a ServerConn and the way to answer it. It
// implements message.Exchange.
type Exchange struct {
	conn    *ServerConn
	request message.Request
	body    requestBody
	open    bool
	ended   bool // the answer is whole
	last    bool // the connection ends with this exchange; its head said so
	tunnel  bool

	// mu orders the heads that are written: a 100 (Continue) comes from who reads the body.
	mu        sync.Mutex
	waits     bool // the client waits for 100
	continued bool // it has got one
	final     bool // the last head was begun
}

// begin makes it the exchange of the head that was just read.
func (x *Exchange) begin() {
	c, r := x.conn, &x.request
	x.open, x.ended, x.last, x.tunnel = true, false, false, false
	x.waits, x.continued, x.final = r.Expects, false, false
	x.body.asked = !r.Expects
	x.body.begin(&c.in, bodyKind(r), r.Length, limits{c.cfg.Read, c.cfg.MaxHead, c.cfg.MaxFields, c.cfg.Underscores})
	c.out.begin()
}

// Request implements message.Exchange. Its LastOfOne may be set until the
// answer's head is written, to have the connection end with it.
func (x *Exchange) Request() *message.Request { return &x.request }

// Body implements message.Exchange. After a 101 it is the tunnel's.
func (x *Exchange) Body() message.Body { return &x.body }

// requestBody asks for the body before it reads it.
type requestBody struct {
	body
	x     *Exchange
	asked bool
}

// Read implements message.Body.
func (b *requestBody) Read(p []byte) (int, error) {
	if !b.asked {
		b.asked = true
		if err := b.x.proceed(); err != nil {
			return 0, err
		}
	}
	return b.body.Read(p)
}

// proceed sends the 100 (Continue) that a client waits for.
func (x *Exchange) proceed() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final || x.continued {
		return nil
	}
	x.continued = true
	x.conn.out.string("HTTP/1.1 100 Continue\r\n\r\n")
	return x.conn.out.flush()
}

// WriteHead implements message.Exchange. Where a body follows, the head is kept
// to leave with the first of it, or with a flush: whoever has to wait for the body
// flushes first. It returns ErrHead for a head that would be misread, before
// anything of it is sent. It adds neither Date nor Server.
func (x *Exchange) WriteHead(r *message.Response, end bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.conn.broken.Load():
		return ErrReset
	case x.final, r.Status < 100, r.Status > 999, !isValue(r.Reason), !checkFields(r.Fields):
		return ErrHead
	case r.Status == http.StatusSwitchingProtocols:
		return x.switchProtocols(r)
	case r.Status < 200:
		return x.interim(r)
	}
	return x.writeFinal(r, end)
}

// interim sends a 1xx. HTTP/1.0 does not know them.
func (x *Exchange) interim(r *message.Response) error {
	if x.request.Minor == 0 || r.Status == http.StatusContinue && x.continued {
		return nil
	}
	x.continued = x.continued || r.Status == http.StatusContinue
	o := &x.conn.out
	o.status(r)
	o.fields(r.Fields)
	o.string("\r\n")
	return o.flush()
}

func (x *Exchange) switchProtocols(r *message.Response) error {
	if len(x.request.Protocol) == 0 {
		return ErrHead
	}
	x.final, x.last, x.tunnel = true, true, true
	o := &x.conn.out
	o.status(r)
	o.fields(r.Fields)
	o.string("Connection: Upgrade\r\nUpgrade: ")
	o.bytes(x.request.Protocol)
	o.string("\r\n\r\n")
	o.kind = raw
	x.body.begin(&x.conn.in, raw, 0, limits{})
	return o.flush()
}

func (x *Exchange) writeFinal(r *message.Response, end bool) error {
	o := &x.conn.out
	kind, length := x.framing(r, end)
	if end && kind == counted && length > 0 || len(x.request.Path) == 0 && r.Status < 300 {
		return ErrHead // a CONNECT that is agreed to would be a tunnel
	}
	x.final = true
	x.last = x.request.LastOfOne || kind == raw || x.conn.isDraining() || x.bodyEndsConn()
	o.status(r)
	o.fields(r.Fields)
	switch {
	case kind == inChunks:
		o.string("Transfer-Encoding: chunked\r\n")
	case length >= 0:
		o.string("Content-Length: ")
		o.number(length, 10)
		o.string("\r\n")
	}
	switch {
	case x.last:
		o.string("Connection: close\r\n")
	case x.request.Minor == 0:
		o.string("Connection: keep-alive\r\n")
	}
	o.string("\r\n")
	o.kind, o.left = kind, length
	if end {
		return x.end(nil)
	}
	return o.err
}

// framing is how the answer's body goes, and the length that its head tells or
// -1 (RFC 9112 §6.3). end says that there is no body.
func (x *Exchange) framing(r *message.Response, end bool) (kind, int64) {
	switch {
	case r.Status == http.StatusNoContent:
		return none, -1
	case r.Status == http.StatusNotModified, string(x.request.Method) == http.MethodHead:
		return none, r.Length
	case r.Length >= 0:
		return counted, r.Length
	case end:
		return counted, 0
	case x.request.Minor == 0:
		return raw, -1
	}
	return inChunks, -1
}

// bodyEndsConn says that the request's body is not going to be read off: it is
// known to be broken or too long for that, or may not come at all.
func (x *Exchange) bodyEndsConn() bool {
	if x.body.whole.Load() {
		return false
	}
	return x.waits && !x.continued || x.request.Length > drainBytes || x.body.failed.Load()
}

// WriteBody implements message.Sender.
func (x *Exchange) WriteBody(p []byte, flush bool) error {
	if !x.final {
		return ErrHead
	}
	return x.conn.out.body(p, flush)
}

// End implements message.Sender. Once it has sent the answer's rest nobody
// needs the rest of the request's body, and a Read that waits for that fails.
// Of a tunnel it closes the one half.
func (x *Exchange) End(trailers []message.Field) error {
	if !x.final {
		return ErrHead
	}
	if !x.tunnel {
		return x.end(trailers)
	}
	if err := x.conn.out.end(nil); err != nil {
		return err
	}
	x.ended = true
	return closeWrite(x.conn.conn)
}

func (x *Exchange) end(trailers []message.Field) error {
	if err := x.conn.out.end(trailers); err != nil {
		return err
	}
	x.ended = true
	if !x.body.whole.Load() {
		x.body.stop()
	}
	return nil
}

// Reset implements message.Exchange. The connection is closed without a word,
// also of TLS, so that a body that lasts until the end is known to be cut.
func (x *Exchange) Reset() {
	if x.conn.broken.CompareAndSwap(false, true) {
		abort(x.conn.conn)
	}
}

// OnGone implements message.Exchange by doing nothing: what a client sends
// while it waits may be its next request, and there is nobody to read it. Ask
// ServerConn.Gone instead.
func (x *Exchange) OnGone(func()) {}

// finish ends the exchange before the next one. An error says that there
// cannot be a next one.
func (x *Exchange) finish() error {
	c := x.conn
	switch {
	case c.closing:
		return net.ErrClosed
	case !x.open:
		return nil
	case c.broken.Load():
		return ErrReset
	case !x.ended:
		return ErrUnanswered // Close resets it
	}
	x.open = false
	if !x.last && x.drain() {
		c.in.release()
		return nil
	}
	c.closing = true
	if !x.tunnel && (!x.body.whole.Load() || len(c.in.unread()) > 0) {
		c.linger()
	}
	return io.EOF
}

// What is left of a request's body when its answer is whole is read off if it
// is no more than this and comes within this time. Otherwise the connection ends.
const (
	drainBytes = 256 << 10
	drainTime  = time.Second
)

func (x *Exchange) drain() bool {
	b := &x.body.body
	if b.stopped.Load() {
		b.in.by.forget() // stop has set it
	}
	if b.whole.Load() {
		return true
	}
	if b.err != nil && b.err != ErrAnswered {
		return false
	}
	b.err = nil
	b.stopped.Store(false)
	b.limits.progress = drainTime
	buf := borrow(outputBuffer)
	defer giveBack(buf)
	until := time.Since(epoch) + drainTime
	for total := 0; total <= drainBytes && time.Since(epoch) < until; {
		n, err := b.Read(buf.b)
		total += n
		if err != nil {
			return err == io.EOF
		}
	}
	return false
}
