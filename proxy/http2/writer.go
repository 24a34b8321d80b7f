package http2

import (
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"time"
)

// outbox is what is on its way out. Whoever finds no write under way writes all
// that is pending, so that answers of many streams leave in one TLS record; the
// others leave theirs to it. An idle connection holds no buffer.
type outbox struct {
	pending []byte
	taken   uint64 // how often pending was taken away to be written
	written int64  // bytes
	busy    bool   // somebody writes, and will also write what is pending
	linger  *time.Timer
	noTable bool  // the peer was told that HPACK has no dynamic table
	kept    bool  // linger will write what is pending
	since   int64 // when the write that is under way began
	moved   int64 // when the peer was last known to take something
	paced   bool  // the socket bounds how long a write is without progress
	err     error

	waiters int // for pending to shrink
	shrunk  sync.Cond
}

// room returns pending with room for n more bytes.
func (o *outbox) room(n int) []byte {
	o.pending = reserve(o.pending, n)
	return o.pending
}

func (o *outbox) append(p []byte) { o.pending = append(o.room(len(p)), p...) }

func (o *outbox) free() {
	recycle(o.pending)
	o.pending = nil
	if o.linger != nil {
		o.linger.Stop()
	}
}

// flush writes what is pending, or leaves it to who is writing. mu is held, and
// is let go meanwhile. The caller writes for others too, but a few times at
// most: then a goroutine of its own goes on, so that nobody's stream waits
// because others keep the connection busy.
func (c *conn) flush() {
	if c.out.busy || len(c.out.pending) == 0 {
		return
	}
	c.out.busy = true
	// Others that are ready add theirs first.
	c.mu.Unlock()
	runtime.Gosched()
	c.mu.Lock()
	for range 3 {
		if !c.writeOnce() {
			c.wrote()
			return
		}
	}
	if c.watch.stopped {
		for c.writeOnce() {
		}
		c.wrote()
		return
	}
	c.spawn(c.writeAll)
}

// flushSoon is flush for those who must not wait, as the reader: a peer that
// does not read would otherwise not be listened to.
func (c *conn) flushSoon() {
	if c.out.busy || len(c.out.pending) == 0 || c.watch.stopped {
		return
	}
	c.out.busy = true
	c.spawn(c.writeAll)
}

func (c *conn) writeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writeOnce() {
	}
	c.wrote()
}

// keep has what is pending written in a moment, unless it is written before.
func (c *conn) keep() {
	if c.out.busy || c.out.kept {
		return
	}
	c.out.kept = true
	if c.out.linger == nil {
		c.out.linger = time.AfterFunc(keepTime, c.unkeep)
	} else {
		c.out.linger.Reset(keepTime)
	}
}

// keepTime is the moment for which a part of an answer waits for the rest.
const keepTime = 2 * time.Millisecond

func (c *conn) unkeep() {
	defer c.caught(c.panicked)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.kept = false
	c.flushSoon()
}

// writeOnce writes what is pending. It says whether there was anything.
func (c *conn) writeOnce() bool {
	o := &c.out
	if len(o.pending) == 0 || o.err != nil {
		return false
	}
	p := o.pending
	o.pending = nil
	o.taken++
	for b := p; len(b) > 0 && o.err == nil; {
		// Some at a time: each part that leaves is progress.
		part := b[:min(len(b), maxPending)]
		b = b[len(part):]
		o.since = now()
		o.moved = o.since
		if !o.paced {
			c.arm(o.since + int64(c.cfg.Write))
		}
		n, err := c.send(part)
		o.written += int64(n)
		if err == nil && n < len(part) {
			err = io.ErrShortWrite
		}
		if o.err == nil {
			o.err = err
		}
		if o.paced && errors.Is(err, os.ErrDeadlineExceeded) {
			c.stall()
		}
	}
	o.since = 0
	recycle(p)
	c.shrunk()
	return true
}

// send writes without mu.
func (c *conn) send(part []byte) (n int, err error) {
	c.mu.Unlock()
	defer c.mu.Lock()
	defer c.caught(func() { err = errPanicked })
	return c.nc.Write(part)
}

// wrote ends a turn of writing.
func (c *conn) wrote() {
	c.out.busy = false
	if c.out.err != nil {
		recycle(c.out.pending)
		c.out.pending = nil
		c.shrunk()
		// The reader finds out, and ends the connection.
		c.nc.Close()
	}
	c.hush()
}

// shrunk wakes those that wait for pending to shrink.
func (c *conn) shrunk() {
	if c.out.waiters > 0 {
		c.out.shrunk.Broadcast()
	}
	c.nextSender()
}

// awaitRoom waits until heads of s may be queued, or s has ended. mu is held, and is let
// go meanwhile.
func (c *conn) awaitRoom(s *stream) {
	for len(c.out.pending) >= c.pendingLimit() && c.out.err == nil && s.err == nil {
		c.out.waiters++
		c.out.shrunk.Wait()
		c.out.waiters--
	}
}
