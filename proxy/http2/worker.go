package http2

import (
	"time"

	"sallyport/proxy/memory"
)

// workers run handlers. A worker that has nothing to do waits a moment for the
// next stream, so that in the steady state no goroutine is started; then it
// leaves, so that an idle connection has none. There are at most as many as the
// client may have streams open, and fewer where memory is short (ration.go).
// A stream that finds none, for that or because handlers have not returned from
// streams that were reset, waits in queue, which is bounded by the same number.
// All of it is guarded by the connection's mu.
type workers struct {
	queue    []*stream
	idle     []*worker // the last one waits shortest, and is taken first
	n        int       // workers that are not on their way out
	rationed bool      // the queue is looked at again in a while
	hold     *holding
}

type worker struct {
	wake  chan *stream // nil: leave
	since int64
}

// idleWorker is how long a worker waits for a stream.
const idleWorker = int64(2 * time.Second)

// give hands s to a worker. It is for the reader. mu is held.
func (c *ServerConn) give(s *stream) {
	w := &c.workers
	if n := len(w.idle); n > 0 {
		last := w.idle[n-1]
		w.idle = w.idle[:n-1]
		last.wake <- s
		return
	}
	w.queue = append(w.queue, s)
	if c.startQueued(); len(w.queue) > 0 && w.n < c.cfg.MaxStreams {
		s.queuedSince = now()
		c.hold.mem.Rationed(memory.StreamWaits)
	}
}

// start starts a worker with s. mu is held.
func (c *ServerConn) start(s *stream) {
	c.workers.n++
	c.hold.add(workerBytes)
	c.spawn(func() { c.work(s) })
}

// left notes that a worker is on its way out. mu is held.
func (w *workers) left() {
	w.n--
	w.hold.add(-workerBytes)
}

// next takes the stream that has waited longest. mu is held.
func (w *workers) next() *stream {
	s := w.queue[0]
	w.queue = append(w.queue[:0], w.queue[1:]...)
	return s
}

// work runs handlers until there was nothing to do for a while.
func (c *ServerConn) work(s *stream) {
	left := false
	defer func() {
		if !left { // a handler has ended the goroutine
			c.mu.Lock()
			defer c.mu.Unlock()
			c.workers.left()
		}
	}()
	me := &worker{wake: make(chan *stream, 1)}
	for s != nil {
		c.handle(s)
		if s = c.done(me); s == nil {
			s = <-me.wake
		}
	}
	left = true
}

// handle runs the handler, unless the client has given up already.
func (c *ServerConn) handle(s *stream) {
	defer c.caught(c.panicked)
	e := &exchange{c: &c.conn, s: s}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		e.s = nil
		c.leave(s)
	}()
	c.mu.Lock()
	gone := s.removed
	if gone {
		c.tellForgotten(s)
	}
	c.mu.Unlock()
	if !gone {
		c.handler(e)
	}
}

// done gives the worker its next stream, or nil where it has to wait.
func (c *ServerConn) done(me *worker) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &c.workers
	spare := w.n > rationedStreams && c.hold.mem.Short()
	if len(w.queue) > 0 && !spare {
		return w.next()
	}
	if c.closing || spare {
		w.left()
		me.wake <- nil
		return nil
	}
	me.since = now()
	w.idle = append(w.idle, me)
	if len(w.idle) == 1 {
		c.arm(me.since + idleWorker)
	}
	return nil
}

// trim lets workers go that have waited long enough, and says when the next one
// has. mu is held.
func (w *workers) trim(t int64) int64 {
	n := 0
	for n < len(w.idle) && w.idle[n].since <= t-idleWorker {
		w.idle[n].wake <- nil
		w.left() // now, lest a stream is queued for a worker that is on its way out
		n++
	}
	w.idle = append(w.idle[:0], w.idle[n:]...)
	if len(w.idle) == 0 {
		w.idle = nil
		return never
	}
	return w.idle[0].since + idleWorker
}

// forget takes a stream out of the queue that needs no handler any more.
func (w *workers) forget(s *stream) bool {
	for i, other := range w.queue {
		if other == s {
			w.queue = append(w.queue[:i], w.queue[i+1:]...)
			return true
		}
	}
	return false
}
