package http2

import (
	"golang.org/x/net/http2"

	"sallyport/proxy/memory"
)

// Memory is what a client holds of the process's memory, with all its connections. As long
// as it suffices, a connection serves as many streams at once as it has announced, and its
// windows fit the line.
type Memory interface {
	// Take notes that n bytes more are held, or -n fewer.
	Take(n int)
	// Short reports whether the client shall hold no more: further streams wait, and windows
	// shrink.
	Short() bool
	// Out reports whether it has to give way: streams are refused, and bodies that wait
	// to be read broken off.
	Out() bool
	// Rationed counts that something of that was done.
	Rationed(what memory.Kind)
}

// plenty is memory that nobody bounds.
type plenty struct{}

func (plenty) Take(int)             {}
func (plenty) Short() bool          { return false }
func (plenty) Out() bool            { return false }
func (plenty) Rationed(memory.Kind) {}

// What things take as a rule. A worker has its goroutine's stack, and what its
// handler needs for a request that waits for a backend.
const (
	workerBytes = 16 << 10
	streamBytes = 1 << 10
	fieldBytes  = 56 // of message.Field
)

// What a client gets that is short, to be served at all.
const (
	rationedStreams = 2        // that are served at once on a connection
	rationedWindow  = 64 << 10 // of a stream
	rationedUnread  = 16 << 10 // that a body may have waiting, where others must give way
	rationedPause   = int64(100e6)
)

// holding is what is held for one client by a connection, or by a call. Memory is told
// in steps, so that what comes and goes all the time costs nothing.
type holding struct {
	mem   Memory
	held  int
	taken int // of mem: at most a step less than held, or a step more
}

const holdStep = 16 << 10

// add notes n bytes more, or -n fewer. It reports whether memory was taken.
func (h *holding) add(n int) (took bool) {
	h.held += n
	by := 0
	switch {
	case h.held == 0:
		by = -h.taken
	case h.held >= h.taken+holdStep, h.held < h.taken-holdStep:
		by = (h.held - h.taken) / holdStep * holdStep
	}
	if by == 0 {
		return false
	}
	h.taken += by
	h.mem.Take(by)
	return by > 0
}

// mayServe reports whether one more stream may be served. mu is held.
func (c *ServerConn) mayServe() bool {
	n := c.workers.n
	return n < rationedStreams || n < c.cfg.MaxStreams && !c.hold.mem.Short()
}

// startQueued starts workers with the streams that wait, as far as there may be more. mu
// is held.
func (c *ServerConn) startQueued() {
	w := &c.workers
	for len(w.queue) > 0 && c.mayServe() {
		c.start(w.next())
	}
	if len(w.queue) > 0 && w.n < c.cfg.MaxStreams && !w.rationed {
		// Memory that others give back is not told of: it is looked for.
		w.rationed = true
		c.arm(now() + rationedPause)
	}
}

// dueQueued serves streams that have waited for memory, or refuses them when they have
// waited for as long as a head may take. mu is held.
func (c *ServerConn) dueQueued(t int64) int64 {
	w := &c.workers
	if !w.rationed {
		return never
	}
	w.rationed = false
	for late := t - int64(c.cfg.Header); len(w.queue) > 0 && w.queue[0].queuedSince != 0 && w.queue[0].queuedSince < late; {
		s := w.next()
		c.hold.mem.Rationed(memory.StreamRefused)
		if c.cfg.Refused != nil {
			head := lineOf(&s.req)
			c.spawn(func() { c.cfg.Refused(head, refuseMemory.status, refuseMemory.reason) })
		}
		if err := c.refuseForMemory(s); err != nil {
			c.failSoon(err)
			return never
		}
	}
	if c.startQueued(); w.rationed {
		return t + rationedPause
	}
	return never
}

// refusesMore reports whether a further stream is refused, since the client has to give way.
func (c *ServerConn) refusesMore() bool {
	return len(c.streams) >= rationedStreams && c.hold.mem.Out()
}

// refuseForMemory answers a stream for which there is no memory. One whose body is still to come
// is reset instead, since what is left of it would be held until the body ends;
// its client may make it again (RFC 9113 §8.7). mu is held.
func (c *ServerConn) refuseForMemory(s *stream) error {
	if s.remoteEnded {
		return c.refuseHead(s, refuseMemory)
	}
	s.handled = true
	c.reset(s, http2.ErrCodeRefusedStream, errAborted)
	return c.spend(costReset)
}

// hasCome notes bytes that have come for s. Where its client has to give way, the stream of
// the connection's that has most waiting is broken off. It reports whether s goes on. mu is held.
func (c *conn) hasCome(s *stream, p []byte) (goesOn bool) {
	before := s.in.held
	s.in.write(p)
	c.waiting += len(p)
	if !s.hold.add(s.in.held-before) || !s.hold.mem.Out() {
		return true
	}
	most := s
	for _, other := range c.streams {
		if other.hold == s.hold && other.in.held > most.in.held {
			most = other
		}
	}
	if most.in.n <= rationedUnread {
		return true
	}
	most.hold.mem.Rationed(memory.BodyBroken)
	if gone := c.reset(most, codeCalm, ErrNoMemory); gone != nil {
		c.spawn(gone)
	}
	return most != s
}

// empty throws away what has come for s and nobody reads. mu is held.
func (s *stream) empty() {
	if len(s.in.chunks) > 0 {
		s.hold.add(-s.in.held)
		s.c.waiting -= s.in.n
		s.in.drop()
	}
	if s.c.owed > 0 {
		s.c.giveBack()
	}
}

// Idle reports whether the connection has no stream.
func (c *ServerConn) Idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams) == 0
}
