package http2

import (
	"math"
	"time"
)

// watch is the one timer of a connection. Whoever begins to wait notes the time
// and arms it; it is left to fire rather than moved at each progress, and looks
// then at all waits there are.
type watch struct {
	timer   *time.Timer
	at      int64 // when it fires; 0: never
	stopped bool
}

func (w *watch) stop() {
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// arm has the waits looked at no later than at a time. mu is held.
func (c *conn) arm(at int64) {
	w := &c.watch
	if w.stopped || w.at != 0 && w.at <= at {
		return
	}
	w.at = at
	d := time.Duration(at - now())
	if w.timer == nil {
		w.timer = time.AfterFunc(d, c.look)
	} else {
		w.timer.Reset(d)
	}
}

// never is the time of a wait that nobody bounds.
const never = math.MaxInt64

// deadline is when a wait that began at since is over.
func deadline(since int64, limit time.Duration) int64 {
	if since == 0 || limit <= 0 {
		return never
	}
	return since + int64(limit)
}

// look ends the waits whose time is over, and arms the timer for the next one.
func (c *conn) look() {
	defer c.caught(c.panicked)
	for _, f := range c.sweepLocked() {
		f()
	}
}

func (c *conn) sweepLocked() (gone []func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sweep(now())
}

// keptStreams is how many streams an idle connection keeps room for.
const keptStreams = 8

func (c *conn) sweep(t int64) (gone []func()) {
	if c.watch.at = 0; c.watch.stopped {
		return nil
	}
	if d := deadline(c.out.since, c.cfg.Write); d <= t && !c.out.paced {
		c.out.err = errWriteSlow
		c.nc.Close() // interrupts the write, and the reader
		return c.end(errWriteSlow)
	} else if d != never && !c.out.paced {
		c.arm(d)
	}
	if c.closing {
		return nil
	}
	next := int64(never)
	check := func(d int64, reason error) {
		if d <= t && gone == nil && !c.closing {
			gone = c.end(reason)
		}
		next = min(next, d)
	}
	check(deadline(c.lateSince, c.cfg.Header), &ConnError{codeCalm, "field section or frame too slow"})
	check(deadline(c.settingsSince, c.cfg.Header), &ConnError{codeSettingsTimeout, "no preface, or settings not acknowledged"})
	check(deadline(c.idleSince, c.cfg.Idle), nil)
	if c.closing {
		return gone
	}
	if len(c.streams) == 0 && c.most > keptStreams {
		c.streams, c.most = make(map[uint32]*stream), 0
	}
	for _, s := range c.streams {
		next = min(next, s.sweep(t))
	}
	next = min(next, c.role.due(t), c.dueBack(t))
	if next != never && !c.closing {
		c.arm(next)
	}
	return gone
}

// late is called by the reader before it waits in the middle of something. A
// body may take its time.
func (c *conn) late() {
	if c.isLate {
		return
	}
	c.isLate = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lateSince = now()
	c.arm(c.lateSince + int64(c.cfg.Header))
}

// inTime ends what late began.
func (c *conn) inTime() {
	if !c.isLate || c.block != nil {
		return
	}
	c.isLate = false
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lateSince = 0
}
