package http2

import (
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// Call is a request to a backend, and a message.Call. As exchange, it is not used again.
type Call struct {
	c *ClientConn
	s *stream // nil when the call is closed; guarded by c.mu
}

func (k *Call) enter() (*stream, error) {
	k.c.mu.Lock()
	if k.s == nil {
		return nil, ErrOver
	}
	k.s.users++
	return k.s, nil
}

func (k *Call) leave(s *stream) {
	if s != nil {
		s.users--
		s.release()
	}
	k.c.mu.Unlock()
}

// ChargeTo says whose memory the call's response takes until it is read. It comes before
// WriteHead.
func (k *Call) ChargeTo(m Memory) {
	s, err := k.enter()
	defer k.leave(s)
	if err == nil && s.id == 0 {
		s.own.mem = m
	}
}

// WriteHead implements message.Call. The error is ErrUnprocessed where the
// connection went away before.
func (k *Call) WriteHead(r *message.Request, end bool) error {
	s, err := k.enter()
	defer k.leave(s)
	if err != nil {
		return err
	}
	c := k.c
	if len(r.Protocol) > 0 {
		if err := c.awaitConnect(); err != nil {
			return err
		}
	}
	c.awaitRoom(s)
	switch {
	case k.s == nil:
		return ErrOver
	case s.id != 0 || len(r.Protocol) > 0 && end:
		return errMisuse
	case c.closing || c.goneBy != nil || c.out.err != nil || c.lastID >= maxWindow-2:
		return &unprocessedError{errGone}
	}
	c.reserved--
	if len(c.streams) == 0 {
		c.lastHeard = now()
		c.arm(c.lastHeard + int64(c.cfg.Ping))
	}
	c.lastID += 2
	if c.lastID == 2 {
		c.lastID = 1
	}
	c.begin(s, c.lastID)
	s.headless = true
	s.bodiless = string(r.Method) == "HEAD"
	if s.sendLeft = r.Length; len(r.Protocol) > 0 {
		s.tunnel, s.sendLeft = true, message.Unknown
	}
	size := fieldsSize(r.Fields) + len(r.Path) + len(r.Authority) + len(r.Method)
	c.appendSection(s.id, end, size, func(b []byte) []byte { return appendRequest(b, r) })
	if end {
		s.localEnded = true
		c.flush()
	} else {
		c.keep()
	}
	return nil
}

// awaitConnect waits until the backend has said whether it takes an extended
// CONNECT (RFC 8441 §3). The time that it has for its settings bounds the wait.
func (c *ClientConn) awaitConnect() error {
	c.flush()
	for !c.settled && !c.closing {
		c.settling.Wait()
	}
	if !c.peer.connect && !c.closing {
		return ErrNoTunnel
	}
	return nil
}

// WriteBody implements message.Sender.
func (k *Call) WriteBody(p []byte, flush bool) error {
	s, err := k.enter()
	defer k.leave(s)
	if err != nil {
		return err
	}
	if err := s.sendable(); err != nil {
		return err
	}
	return s.write(p, flush)
}

// sendable says why nothing more can be sent of a request.
func (s *stream) sendable() error {
	switch {
	case s.err != nil:
		return s.err
	case s.stopped:
		return ErrStopped
	case s.id == 0 || s.localEnded:
		return errMisuse
	}
	return nil
}

// End implements message.Sender.
func (k *Call) End(trailers []message.Field) error {
	s, err := k.enter()
	defer k.leave(s)
	if err != nil {
		return err
	}
	k.c.awaitRoom(s)
	if err := s.sendable(); err != nil {
		return err
	}
	switch {
	case k.c.out.err != nil:
		return k.c.out.err
	case s.sendLeft > 0:
		return errLength
	}
	s.end(trailers)
	k.c.flush()
	return nil
}

// ReadHead implements message.Call. The error is ErrNothing where Config.Look
// bounds the wait: it can be called again then, and so can Read.
func (k *Call) ReadHead() (*message.Response, error) {
	s, err := k.enter()
	defer k.leave(s)
	if err != nil {
		return nil, err
	}
	if s.id == 0 {
		return nil, errMisuse
	}
	defer func() {
		s.nothing = false
		s.readSince = 0
	}()
	for len(s.heads) == 0 {
		switch {
		case s.err != nil:
			return nil, s.err
		case !s.headless:
			return nil, errMisuse
		case s.nothing:
			return nil, ErrNothing
		}
		s.awaitReadable()
	}
	if s.err != nil {
		return nil, s.err
	}
	r := s.heads[0]
	s.heads = s.heads[1:]
	return r, nil
}

// ReadWithin has ReadHead and Read wait for so long, rather than for Config.Look.
func (k *Call) ReadWithin(limit time.Duration) {
	s, err := k.enter()
	defer k.leave(s)
	if err == nil {
		s.readLimit = limit
	}
}

// Body implements message.Call: the call is its answer's body.
func (k *Call) Body() message.Body { return k }

// Read implements message.Body.
func (k *Call) Read(p []byte) (int, error) {
	s, err := k.enter()
	defer k.leave(s)
	switch {
	case err != nil:
		return 0, err
	case s.id == 0:
		return 0, errMisuse
	}
	return s.read(p)
}

// Ready says whether Read would not wait.
func (k *Call) Ready() bool {
	s, err := k.enter()
	defer k.leave(s)
	return err != nil || s.ready()
}

// Trailers implements message.Body.
func (k *Call) Trailers() []message.Field {
	s, err := k.enter()
	defer k.leave(s)
	if err != nil {
		return nil
	}
	return s.trailers
}

// Close implements message.Call. A call that is not over is cancelled, which
// costs the connection nothing.
func (k *Call) Close() {
	s, err := k.enter()
	defer k.leave(s)
	if err != nil {
		return
	}
	k.s = nil
	s.handled = true
	if s.id == 0 {
		s.err, s.removed = ErrOver, true
		s.wake()
		k.c.reserved--
		k.c.settling.Broadcast()
		k.c.endUnused()
		return
	}
	k.c.reset(s, http2.ErrCodeCancel, ErrOver)
}
