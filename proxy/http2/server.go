package http2

import (
	"net"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/memory"
	"sallyport/proxy/message"
)

// ServerConn is a client's connection.
type ServerConn struct {
	conn
	handler     func(message.Exchange)
	workers     workers  // guarded by mu
	drain       drain    // guarded by mu
	refused     *refusal // of the last head; the reader's, as is refusedHead
	refusedHead *message.Request
}

// NewServerConn makes a connection of one whose peer is about to send the
// preface; its times run from here. handler answers a request, in a goroutine that
// it has to itself until it returns. It must not return before all others that use the
// exchange have let go of it, and what it has not answered by then is reset. A
// panic of it ends the connection (Config.Panicked).
func NewServerConn(nc net.Conn, cfg Config, handler func(message.Exchange)) *ServerConn {
	cfg = cfg.forServer()
	c := &ServerConn{handler: handler}
	c.conn.init(nc, &cfg, c)
	c.workers.hold = &c.hold
	c.drain.last = maxWindow
	c.greet("",
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(cfg.MaxStreams)},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: cfg.listSize()},
		http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1},
	)
	return c
}

// Run serves until the connection ends, and all handlers have returned. It
// closes the connection. nil says that the client closed it between frames, that
// it was idle, or that it was drained.
func (c *ServerConn) Run() error {
	c.mu.Lock()
	c.flushSoon()
	c.mu.Unlock()
	return c.run(len(http2.ClientPreface))
}

// Close ends the connection and all its streams at once.
func (c *ServerConn) Close() { c.fail(errClosed) }

// headers implements role: a request's head, or trailers.
func (c *ServerConn) headers(f frame, b *block) error {
	end := f.flags.Has(http2.FlagHeadersEndStream)
	if !c.mine(f.id) {
		return broken("stream of an even number from a client")
	}
	err := c.takeHeaders(f, b, end)
	if c.refused != nil {
		c.tellRefused()
	}
	return err
}

func (c *ServerConn) takeHeaders(f frame, b *block, end bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[f.id]; s != nil {
		return c.readTrailers(s, b, end)
	}
	if f.id <= c.lastID {
		if c.forgot(f.id) {
			return c.spend(costFrame)
		}
		return &ConnError{http2.ErrCodeStreamClosed, "HEADERS for a closed stream"}
	}
	c.lastID = f.id
	if f.id > c.drain.last {
		c.forget(f.id) // the client was told that it is not processed
		return c.spend(costFrame)
	}
	if len(c.streams) >= c.cfg.MaxStreams {
		var p pseudo
		_, _ = b.pseudo(&p)
		c.refusedHead = &message.Request{Method: p.method, Authority: p.authority, Path: p.path, Major: 2}
		c.refused = refuseStreams // its client may make it again when others are over (RFC 9113 §5.1.2, §8.7)
		return c.refuse(f.id, http2.ErrCodeRefusedStream)
	}
	return c.open(f.id, b, end)
}

// open begins a stream with a request's head. mu is held.
func (c *ServerConn) open(id uint32, b *block, end bool) error {
	s := newStream(&c.conn)
	no := s.parseRequest(b, end)
	if no == nil && c.refusesMore() {
		c.hold.mem.Rationed(memory.StreamRefused)
		no = refuseMemory
	}
	s.headBytes = streamBytes + cap(s.arena) + fieldBytes*cap(s.fields)
	s.hold.add(s.headBytes)
	c.begin(s, id)
	s.begun = now()
	if len(c.streams) == 1 {
		c.lastHeard = s.begun
		c.arm(s.begun + int64(c.cfg.Ping))
	}
	s.remoteEnded = end
	if no == nil {
		c.give(s)
		return nil
	}
	c.refused = no
	c.refusedHead = lineOf(&s.req)
	if no == refuseMemory {
		return c.refuseForMemory(s)
	}
	return c.refuseHead(s, no)
}

// leave ends what a handler has left of its stream (RFC 9113 §8.1). mu is held.
func (c *ServerConn) leave(s *stream) {
	s.handled = true
	s.onGone = nil
	switch {
	case s.removed:
		s.release()
	case s.localEnded:
		c.outlast(s)
	default:
		c.reset(s, http2.ErrCodeInternal, errAborted)
	}
}

// readTrailers takes the second field section of a stream. mu is held.
func (c *conn) readTrailers(s *stream, b *block, end bool) error {
	switch {
	case s.remoteEnded:
		return c.fault(s, &streamError{http2.ErrCodeStreamClosed, "HEADERS after the end"})
	case !end:
		return c.fault(s, malformed("trailers that are not the end"))
	}
	trailers, err := c.cfg.parseTrailers(b)
	if err != nil {
		return c.fault(s, malformed(err.Error()))
	}
	s.trailers = trailers
	return c.endRemote(s)
}

// gone implements role.
func (c *ServerConn) gone(s *stream) {
	if c.workers.forget(s) {
		s.handled = true
		c.tellForgotten(s)
	} else if s.err == nil && s.early.since == 0 && !s.refused {
		c.free.earn(earnDone)
	}
	if c.drain.begun && len(c.streams) == 0 {
		c.drained()
	}
}

// lastPeer implements role.
func (c *ServerConn) lastPeer() uint32 { return min(c.lastID, c.drain.last) }

// setting implements role: a client has none that matters here.
func (c *ServerConn) setting(http2.Setting) error { return nil }

// configured implements role.
func (c *ServerConn) configured() {}

// wentAway implements role: a client that goes away closes by itself, and makes
// no new streams.
func (c *ServerConn) wentAway() {}

// over implements role: workers that wait leave.
func (c *ServerConn) over() { c.workers.trim(never) }

// due implements role.
func (c *ServerConn) due(t int64) int64 {
	return min(c.workers.trim(t), c.dueQueued(t), c.drain.due(c, t), c.ask(t))
}

// ask asks a client that has been silent for long beside a stream whether it is there: one
// that has vanished without a word has its streams' work done for nobody. It says when it
// wants to look again. mu is held.
func (c *ServerConn) ask(t int64) int64 {
	if len(c.streams) == 0 {
		c.pingSince = 0
		return never
	}
	if c.came {
		// When it came is not known: it was not before the last look.
		c.came, c.lastHeard, c.pingSince = false, t, 0
	}
	next, dead := c.askPeer(t)
	if dead {
		c.failSoon(errDead)
	}
	return next
}

// Waited is how long the connection has been without a stream; 0: it has some.
func (c *ServerConn) Waited() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) > 0 || c.idleSince == 0 || c.closing {
		return 0
	}
	return time.Duration(now() - c.idleSince)
}
