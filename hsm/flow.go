package hsm

import "time"

// flow measures how many waiters of a lane are served a second. That knows of all that slows
// a token down under load, as the time of a single signature does not.
type flow struct {
	since  time.Time // when the first had to wait, or later
	last   time.Time // when the last one was served; since, before there is one
	served float64   // between them
}

// flowSpan is how far back it looks: after two of them, what was counts by half.
const flowSpan = time.Second

// begin forgets what was.
func (f *flow) begin(now time.Time) { *f = flow{since: now, last: now} }

// count notes that another one was served.
func (f *flow) count(now time.Time) {
	f.served++
	f.last = now
	if took := now.Sub(f.since); took > 2*flowSpan {
		f.since = now.Add(-took / 2)
		f.served /= 2
	}
}

// wait is how long it is expected to take until n are served. What was measured counts in
// with what is expected of so many sessions where a signature takes pace. A token that stands
// still is taken for one that goes on as before: that may be over in a moment, and what waits
// for it is bounded in other ways. 0: nothing is known.
func (f *flow) wait(n, sessions int, pace time.Duration) time.Duration {
	served := f.served + float64(sessions)
	if sessions == 0 || served <= 0 {
		return 0 // a process is about to come, or the queue to be closed
	}
	return time.Duration(float64(f.last.Sub(f.since)+pace) * float64(n) / served)
}
