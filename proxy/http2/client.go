package http2

import (
	"net"
	"sync"

	"golang.org/x/net/http2"
)

// ClientConn is a connection to a backend that is known to speak HTTP/2 without
// TLS (RFC 9113 §3.3). It takes many calls at once.
type ClientConn struct {
	conn
	reserved int  // calls that have no stream yet; guarded by mu
	retired  bool // takes no more calls; guarded by mu
	settled  bool // the backend's settings have come; guarded by mu
	settling sync.Cond
}

// NewClientConn makes a client of a connection. Calls may be made at once, and
// are answered while Run runs.
func NewClientConn(nc net.Conn, cfg Config) *ClientConn {
	cfg = cfg.forClient()
	c := new(ClientConn)
	c.conn.init(nc, &cfg, c)
	c.client = true
	c.peer.maxStreams = defaultMaxStreams // until its settings come (RFC 9113 §6.5.2)
	c.settling.L = &c.mu
	c.greet(http2.ClientPreface,
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(cfg.MaxHeaderBytes)},
	)
	return c
}

// Run reads what the backend sends until the connection ends, and closes it. nil
// says that it was closed by Close or Retire, or by the backend between frames.
func (c *ClientConn) Run() error {
	c.mu.Lock()
	c.flushSoon()
	c.mu.Unlock()
	return c.run(0)
}

// Settled waits until the backend's settings have come, which show that it speaks
// HTTP/2 and how many calls it takes, or returns why they will not. Run must run.
func (c *ClientConn) Settled() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.settled && !c.closing {
		c.settling.Wait()
	}
	switch {
	case c.settled:
		return nil
	case c.err != nil:
		return c.err
	}
	return errGone
}

// CanTakeCall says whether NewCall would give a call now.
func (c *ClientConn) CanTakeCall() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hasRoom()
}

// Alive says whether the connection may still take calls, now or when others
// have ended.
func (c *ClientConn) Alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usable()
}

func (c *ClientConn) usable() bool {
	return !c.closing && !c.retired && c.goneBy == nil && c.out.err == nil && c.lastID < maxWindow-2
}

func (c *ClientConn) hasRoom() bool {
	return c.usable() && uint32(len(c.streams)+c.reserved) < c.peer.maxStreams
}

// NewCall makes a call. It must be closed. The error is ErrNoRoom.
func (c *ClientConn) NewCall() (*Call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.hasRoom() {
		return nil, ErrNoRoom
	}
	c.reserved++
	return &Call{c: c, s: newStream(&c.conn)}, nil
}

// Retire closes the connection when the calls that it has are over.
func (c *ClientConn) Retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	c.endUnused()
}

// Close ends the connection and all its calls at once.
func (c *ClientConn) Close() { c.fail(errClosed) }

// endUnused closes the connection if it takes no more calls and has none. mu is held.
func (c *ClientConn) endUnused() {
	if c.usable() || len(c.streams)+c.reserved > 0 || c.closing {
		return
	}
	c.out.pending = appendGoAway(c.out.room(headLen+8), 0, http2.ErrCodeNo)
	c.endWell()
}

// headers implements role: an answer's head, or its trailers.
func (c *ClientConn) headers(f frame, b *block) error {
	end := f.flags.Has(http2.FlagHeadersEndStream)
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.known(f)
	switch {
	case s == nil || err != nil:
		return err
	case !s.headless:
		return c.readTrailers(s, b, end)
	}
	r, err := s.parseResponse(b, end)
	if err != nil {
		return c.fault(s, malformed(err.Error()))
	}
	if len(s.heads) == maxHeads {
		return c.fault(s, malformed("more heads than anybody reads"))
	}
	s.heads = append(s.heads, r)
	s.readable.Signal()
	if end {
		return c.endRemote(s)
	}
	return nil
}

// maxHeads is how many heads of an answer may wait to be read.
const maxHeads = 8

// gone implements role.
func (c *ClientConn) gone(s *stream) {
	if s.err == nil {
		c.free.earn(earnDone)
	}
	c.endUnused()
}

// lastPeer implements role: a backend begins no streams.
func (c *ClientConn) lastPeer() uint32 { return 0 }

// setting implements role.
func (c *ClientConn) setting(s http2.Setting) error {
	switch s.ID {
	case http2.SettingMaxConcurrentStreams:
		c.peer.maxStreams = s.Val
	case http2.SettingEnablePush:
		if s.Val != 0 {
			return broken("a server that wants to be pushed to") // RFC 9113 §6.5.2
		}
	case http2.SettingEnableConnectProtocol:
		c.peer.connect = s.Val == 1
	}
	return nil
}

// configured implements role.
func (c *ClientConn) configured() {
	c.settled = true
	c.settling.Broadcast()
}

// wentAway implements role: calls that the backend will not work on fail at
// once, so that they can be made elsewhere. The others go on.
func (c *ClientConn) wentAway() {
	for _, s := range c.streams {
		if s.id > c.goneTo {
			c.drop(s, &unprocessedError{c.goneBy})
		}
	}
	c.endUnused()
}

// calm implements role.
func (c *ClientConn) calm() {
	c.retired = true
	c.endUnused()
}

// over implements role.
func (c *ClientConn) over() { c.settling.Broadcast() }

// pong implements role. That anything was heard is what counts.
func (c *ClientConn) pong([8]byte) {}

// due implements role: it asks a backend that is silent during a call.
func (c *ClientConn) due(t int64) int64 {
	if len(c.streams) == 0 {
		c.pingSince = 0
		return never
	}
	next, dead := c.askPeer(t)
	if dead {
		c.end(errDead)
	}
	return next
}

// askPeer asks a silent peer whether it is there, and reports whether it is dead: it has
// not said so in time. It returns when to look again. mu is held.
func (c *conn) askPeer(t int64) (next int64, dead bool) {
	wait := int64(c.cfg.Ping)
	switch {
	case c.pingSince != 0 && c.pingSince+wait <= t:
		return never, true
	case c.pingSince != 0:
		return c.pingSince + wait, false
	case c.lastHeard+wait <= t:
		c.pingSince = t
		c.out.pending = appendPing(c.out.room(headLen+8), 0, alivePing)
		c.flushSoon()
		return t + wait, false
	}
	return c.lastHeard + wait, false
}

// alivePing is the data of a PING that asks whether the peer is there.
var alivePing = [8]byte{'a', 'l', 'i', 'v', 'e'}

// heard notes that the peer is alive. mu is held.
func (c *conn) heard() {
	if c.client {
		c.lastHeard = now()
		c.pingSince = 0
	}
	c.came = true
}
