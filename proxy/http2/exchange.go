package http2

import (
	"errors"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// exchange is what a handler gets of a stream. Unlike the stream it is not used
// again, so that what is called after the handler has returned, by a timer
// say, finds nothing rather than another client's stream.
type exchange struct {
	c *conn
	s *stream // nil when the exchange is over; guarded by c.mu
}

// enter takes mu, and says whether the exchange goes on.
func (e *exchange) enter() (*stream, error) {
	e.c.mu.Lock()
	if e.s == nil {
		return nil, ErrOver
	}
	e.s.users++
	return e.s, nil
}

func (e *exchange) leave(s *stream) {
	if s != nil {
		s.users--
		s.release()
	}
	e.c.mu.Unlock()
}

// Request implements message.Exchange.
func (e *exchange) Request() *message.Request {
	s, err := e.enter()
	defer e.leave(s)
	if err != nil {
		return nil
	}
	return &s.req
}

// Body implements message.Exchange: the exchange is its body.
func (e *exchange) Body() message.Body { return e }

// Read implements message.Body.
func (e *exchange) Read(p []byte) (int, error) {
	s, err := e.enter()
	defer e.leave(s)
	if err != nil {
		return 0, err
	}
	if s.expects && !s.headSent && s.err == nil {
		s.expects = false
		if !s.remoteEnded && s.in.n == 0 {
			e.c.appendSection(s.id, false, 0, func(b []byte) []byte {
				return appendResponse(b, &message.Response{Status: 100, Length: message.Unknown})
			})
			e.c.flush()
		}
	}
	return s.read(p)
}

// Ready says whether Read would not wait.
func (e *exchange) Ready() bool {
	s, err := e.enter()
	defer e.leave(s)
	return err != nil || s.ready()
}

// ReadWithin has Read wait for progress for so long, rather than for Config.Read:
// what a client sends may be its part of a conversation.
func (e *exchange) ReadWithin(limit time.Duration) {
	s, err := e.enter()
	defer e.leave(s)
	if err == nil {
		s.readLimit = limit
	}
}

// Trailers implements message.Body.
func (e *exchange) Trailers() []message.Field {
	s, err := e.enter()
	defer e.leave(s)
	if err != nil {
		return nil
	}
	return s.trailers
}

// WriteHead implements message.Exchange. A 101, which HTTP/2 does not have, is
// sent to an extended CONNECT as the 200 that means the same.
func (e *exchange) WriteHead(r *message.Response, end bool) error {
	s, err := e.enter()
	defer e.leave(s)
	if err != nil {
		return err
	}
	c := e.c
	c.awaitRoom(s)
	head := *r
	if head.Status == 101 && s.req.Protocol != nil {
		head.Status = 200
	}
	final := head.Status >= 200
	switch {
	case s.err != nil:
		return s.err
	case c.out.err != nil:
		return c.out.err
	case s.headSent, head.Status < 100, head.Status > 999, head.Status == 101, end && !final:
		return errMisuse
	}
	tunnel := s.req.Protocol != nil && head.Status/100 == 2
	if tunnel {
		head.Length = message.Unknown
	}
	c.appendSection(s.id, end, fieldsSize(head.Fields), func(b []byte) []byte { return appendResponse(b, &head) })
	if !final {
		s.expects = s.expects && head.Status != 100
		c.flush()
		return nil
	}
	s.headSent = true
	if s.sendLeft = head.Length; head.Bodiless {
		s.sendLeft = 0
	}
	if !end {
		c.keep()
		return nil
	}
	s.localEnded = true
	c.settle(s)
	c.flush()
	return nil
}

// AwaitRoom waits until more of a body can be sent, and says about how much: whoever
// sends a long one need not hold the next part meanwhile. An error is as
// WriteBody's.
func (e *exchange) AwaitRoom() (int, error) {
	s, err := e.enter()
	defer e.leave(s)
	if err != nil {
		return 0, err
	}
	c := e.c
	defer func() { s.sendSince = 0 }()
	for {
		switch {
		case s.err != nil:
			return 0, s.err
		case c.out.err != nil:
			return 0, c.out.err
		case s.localEnded:
			return 0, errMisuse
		case s.sendWindow <= 0:
			c.flush() // the peer opens no window for what it has not got
			if s.waits() {
				s.sendWait()
			}
		case len(c.out.pending) >= c.pendingLimit():
			c.flush()
			c.awaitRoom(s)
		case c.pendingLimit() == maxPending:
			return maxPending, nil // what waits then is paid for
		default:
			return min(int(s.sendWindow), c.pendingLimit()-len(c.out.pending)), nil
		}
	}
}

// WriteBody implements message.Sender.
func (e *exchange) WriteBody(p []byte, flush bool) error {
	s, err := e.enter()
	defer e.leave(s)
	switch {
	case err != nil:
		return err
	case s.err != nil:
		return s.err
	case !s.headSent || s.localEnded:
		return errMisuse
	}
	return s.write(p, flush)
}

// End implements message.Sender.
func (e *exchange) End(trailers []message.Field) error {
	s, err := e.enter()
	defer e.leave(s)
	if err != nil {
		return err
	}
	e.c.awaitRoom(s)
	switch {
	case s.err != nil:
		return s.err
	case e.c.out.err != nil:
		return e.c.out.err
	case !s.headSent || s.localEnded:
		return errMisuse
	case s.sendLeft > 0:
		return errLength
	}
	s.end(trailers)
	e.c.flush()
	return nil
}

// Reset implements message.Exchange. Behind a whole answer it does what Drop does.
func (e *exchange) Reset() { e.resetWith(http2.ErrCodeInternal) }

func (e *exchange) resetWith(code http2.ErrCode) {
	s, err := e.enter()
	defer e.leave(s)
	if err != nil {
		return
	}
	s.onGone = nil // whom it tells knows already
	if s.localEnded {
		if !s.removed {
			e.c.role.(*ServerConn).outlast(s)
		}
		return
	}
	e.c.reset(s, code, errAborted)
}

// OnGone implements message.Exchange.
func (e *exchange) OnGone(f func()) {
	s, err := e.enter()
	defer e.leave(s)
	if err != nil {
		return
	}
	for s.telling {
		s.readable.Wait() // whoever is told must not be told late
	}
	s.onGone = f
	if f != nil && s.err != nil && !errors.Is(s.err, errAborted) {
		e.c.spawn(s.notice())
	}
}

// Malformed says whether an exchange has ended because its client broke the request.
// That is never so for one that is not HTTP/2's.
func Malformed(ex message.Exchange) bool {
	e, ok := ex.(*exchange)
	if !ok {
		return false
	}
	s, err := e.enter()
	defer e.leave(s)
	return err == nil && errors.Is(s.err, ErrMalformed)
}

// ResetLike resets an exchange as its backend has reset the call: gRPC tells a
// cancelled call from a failed one by the code. A call that was not processed is
// refused, so that the client may make it again. Any other error, and an
// exchange that is not HTTP/2's, gets what Reset does.
func ResetLike(ex message.Exchange, err error) {
	e, ok := ex.(*exchange)
	var reset *ResetError
	switch {
	case ok && errors.As(err, &reset) && reset.Code != http2.ErrCodeNo:
		e.resetWith(reset.Code)
	case ok && errors.Is(err, ErrUnprocessed):
		e.resetWith(http2.ErrCodeRefusedStream)
	default:
		ex.Reset()
	}
}
