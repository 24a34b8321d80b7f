package proxy

import (
	"sync"
	"time"
)

// watch bounds how long something may go without progress. begin starts or
// extends the time, end suspends it, stop ends the watch. When the time runs out
// between begin and end, expire is called, once and with the lock held: when
// end or stop has returned it will not be called any more, so it cannot hit a
// later request on the same connection.
//
// One timer runs at most and is left to fire rather than reset at each
// progress.
type watch struct {
	limit  time.Duration
	expire func()

	mu      sync.Mutex
	until   time.Time // zero: nothing to watch now
	timer   *time.Timer
	running bool
	expired bool
	stopped bool
}

func newWatch(limit time.Duration, expire func()) *watch {
	return &watch{limit: limit, expire: expire}
}

func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || w.expired {
		return
	}
	w.until = time.Now().Add(w.limit)
	if w.running {
		return
	}
	w.running = true
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit, w.fire)
	} else {
		w.timer.Reset(w.limit)
	}
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = time.Time{}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.until = time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) hasExpired() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.expired
}

func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = false
	if w.stopped || w.until.IsZero() {
		return
	}
	if left := time.Until(w.until); left > 0 {
		w.running = true
		w.timer.Reset(left)
		return
	}
	w.expired = true
	w.expire()
}
