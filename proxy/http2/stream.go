package http2

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// stream is an exchange or a call while it lasts, on either end. All of it is
// guarded by its connection's mu, but for what a handler has been given to read.
// Streams are used again, so nobody outside keeps one: exchange and call do, and
// let go of it under mu.
type stream struct {
	c  *conn
	id uint32

	// What comes.
	in          inbox
	recv        window
	declared    int64 // by Content-Length; Unknown: nothing
	got         int64
	remoteEnded bool // END_STREAM has come, or the stream is gone
	trailers    []message.Field
	readable    sync.Cond
	reading     bool          // somebody is in Read
	readSince   int64         // waits in Read or ReadHead without progress
	readLimit   time.Duration // for that, in place of Config.Read or Config.Look; 0: that
	nothing     bool          // a client's wait has taken as long as Config.Look

	// What goes.
	sendWindow int32
	sendLeft   int64  // of the head's Length; Unknown: any
	headSent   bool   // the final one
	localEnded bool   // END_STREAM was queued, or the stream is gone
	lastData   int    // where in out.pending the payload of its last DATA frame begins; 0: none
	lastTaken  uint64 // out.taken at that time; the frame has left when they differ
	writable   sync.Cond
	sending    bool // somebody waits to send
	queued     bool // in conn.senders
	turn       bool // taken from conn.senders, and not sent since
	sendSince  int64

	hold      *holding // what it holds counts there
	own       holding  // a call's
	headBytes int      // of hold, as long as the stream lasts

	err     error // why it was broken
	readErr error // why no more is read of it, though it may be answered
	stopped bool  // a backend wants no more of the request
	users   int   // goroutines in its methods
	removed bool  // from the connection's table
	handled bool  // its handler has returned, or its call was closed
	early   early // the response was whole before the request
	onGone  func()
	telling bool // onGone was taken, and has not returned

	// A server's.
	begun       int64
	refused     bool  // no handler sees it
	queuedSince int64 // waits for memory
	req         message.Request
	fields      []message.Field
	arena       []byte
	joined      int  // of conn.joined
	expects     bool // 100 (Continue) is still owed

	// A client's.
	heads    []*message.Response // that were not read yet
	headless bool                // the final head has not come
	tunnel   bool                // a 2xx makes a tunnel of it
	bodiless bool                // the request was HEAD
}

var streamPool = sync.Pool{New: func() any { return new(stream) }}

func newStream(c *conn) *stream {
	s := streamPool.Get().(*stream)
	s.c = c
	s.readable.L, s.writable.L = &c.mu, &c.mu
	s.recv.size, s.recv.left = streamWindow, streamWindow
	if s.hold = &c.hold; c.client {
		s.own.mem, s.hold = plenty{}, &s.own
	}
	s.declared, s.sendLeft = message.Unknown, message.Unknown
	return s
}

// Streams keep these much when they are not in use.
const (
	keptFields = 64
	keptArena  = 2 << 10
)

// release gives the stream away, if nobody uses it any more. mu is held.
func (s *stream) release() {
	if !s.removed || !s.handled || s.users > 0 {
		return
	}
	s.empty()
	s.hold.add(-s.headBytes)
	s.c.joined -= s.joined
	clear(s.fields)
	fields, arena, chunks := s.fields[:0], s.arena[:0], s.in.chunks[:0]
	if cap(fields) > keptFields {
		fields = nil
	}
	if cap(arena) > keptArena {
		arena = nil
	}
	if cap(chunks) > 16 {
		chunks = nil
	}
	*s = stream{}
	s.fields, s.arena, s.in.chunks = fields, arena, chunks
	streamPool.Put(s)
}

// begin puts s into the table. mu is held.
func (c *conn) begin(s *stream, id uint32) {
	s.id = id
	s.sendWindow = c.peer.initialWindow
	c.streams[id] = s
	c.most = max(c.most, len(c.streams))
	c.idleSince = 0
}

// drop breaks s for reason, takes it from the table and wakes all that wait for
// it. mu is held. It returns what is to be called without mu.
func (c *conn) drop(s *stream, reason error) func() {
	if s.err == nil {
		s.err = reason
	}
	s.empty()
	s.remoteEnded, s.localEnded = true, true
	f := s.notice()
	c.remove(s)
	return f
}

// notice takes the function that OnGone has left, to be called without mu. It is
// a user of s until it has returned, and OnGone(nil) waits for that. mu is held.
func (s *stream) notice() func() {
	f, c := s.onGone, s.c
	if f == nil {
		return nil
	}
	s.onGone, s.telling = nil, true
	s.users++
	return func() {
		defer c.told(s)
		f()
	}
}

// told ends what notice began.
func (c *conn) told(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.telling = false
	s.users--
	s.wake()
	s.release()
}

// settle takes s from the table when both sides have ended.
func (c *conn) settle(s *stream) {
	if s.remoteEnded && s.localEnded {
		c.remove(s)
	}
}

func (c *conn) remove(s *stream) {
	if s.removed {
		return
	}
	s.removed = true
	delete(c.streams, s.id)
	s.wake()
	c.role.gone(s)
	if len(c.streams) == 0 {
		c.idle()
	}
	s.release()
}

func (s *stream) wake() {
	s.readable.Broadcast()
	s.writable.Broadcast()
	if s.c.out.waiters > 0 {
		s.c.out.shrunk.Broadcast()
	}
}

// idle notes that there is no stream. mu is held.
func (c *conn) idle() {
	c.idleSince = now()
	if c.cfg.Idle > 0 {
		c.arm(c.idleSince + int64(c.cfg.Idle))
	}
}

// reset breaks s from this end. mu is held. f is to be called without it.
func (c *conn) reset(s *stream, code http2.ErrCode, reason error) (f func()) {
	if s.removed {
		return nil
	}
	c.out.pending = appendReset(c.out.room(headLen+4), s.id, code)
	c.forget(s.id)
	f = c.drop(s, reason)
	c.flushSoon()
	return f
}

// fault resets s for what the peer did wrong with it, and charges for it. A client that has
// had no response gets one before: see refusal. mu is held.
func (c *conn) fault(s *stream, e *streamError) error {
	if !c.client && !s.headSent && !s.removed && e.code == http2.ErrCodeProtocol {
		c.appendRefusal(s, http.StatusBadRequest)
	}
	if f := c.reset(s, e.code, e); f != nil {
		c.spawn(f)
	}
	return c.vain(costReset)
}

// refuse resets a stream that does not exist here. mu is held.
func (c *conn) refuse(id uint32, code http2.ErrCode) error {
	c.out.pending = appendReset(c.out.room(headLen+4), id, code)
	c.forget(id)
	c.flushSoon()
	return c.vain(costReset)
}

// known finds the stream of a frame that only makes sense for one that was
// begun. It is nil where the stream is closed already (RFC 9113 §5.1). mu is held.
func (c *conn) known(f frame) (*stream, error) {
	if s := c.streams[f.id]; s != nil {
		return s, nil
	}
	if f.id > c.lastID || !c.mine(f.id) {
		return nil, broken(f.kind.String() + " for a stream that was not begun")
	}
	return nil, c.spend(costFrame)
}

// mine says whether a stream's number is one that this connection has: those
// of the client, as nothing is pushed.
func (c *conn) mine(id uint32) bool { return id%2 == 1 }

// patience is how long a wait to read from s may be without progress; 0 is for ever.
func (s *stream) patience() time.Duration {
	switch {
	case s.c.client && s.tunnel && !s.headless:
		return 0 // who carries it reads from the other side, too
	case s.c.client && s.readLimit > 0:
		return s.readLimit
	case s.c.client:
		return s.c.cfg.Look
	case s.req.Protocol != nil:
		return 0
	case s.readLimit > 0:
		return s.readLimit
	}
	return s.c.cfg.Read
}

// awaitReadable waits until there may be something to read, or a bound is
// reached. mu is held, and is let go meanwhile.
func (s *stream) awaitReadable() {
	if limit := s.patience(); limit > 0 && s.readSince == 0 {
		s.readSince = now()
		s.c.arm(s.readSince + int64(limit))
	}
	s.readable.Wait()
}

// sweep ends the waits of s that are over, and says when the next one is. mu is held.
func (s *stream) sweep(t int64) int64 {
	next := int64(never)
	if d := deadline(s.readSince, s.patience()); d <= t {
		if s.nothing = s.c.client; !s.nothing {
			s.readErr = errReadSlow
		}
		s.readSince = 0
		s.wake()
	} else {
		next = min(next, d)
	}
	if d := deadline(s.sendSinceMoved(t), s.c.cfg.Write); d <= t {
		s.err = errWriteSlow
		s.sendSince = 0
		s.wake()
	} else {
		next = min(next, d)
	}
	return min(next, s.early.due(s, t))
}
