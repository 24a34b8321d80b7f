package hsm

import "time"

// flow tells how long waiters of a lane will have to wait. Of that it knows how long it takes
// at the least, and, when there have been waiters for a while, how many were served a second.
type flow struct {
	began  time.Time // when the first had to wait
	since  time.Time // from when it is counted: then or later
	last   time.Time // when the last one was served; since, before there is one
	served float64   // between these two
}

// flowSpan is how far back it counts: after two of them, what was counted counts by half.
const flowSpan = 2 * time.Second

// begin forgets what was.
func (f *flow) begin(now time.Time) { *f = flow{began: now, since: now, last: now} }

// count notes that another one was served.
func (f *flow) count(now time.Time) {
	f.served++
	f.last = now
	if took := now.Sub(f.since); took > 2*flowSpan {
		f.since = now.Add(-took / 2)
		f.served /= 2
	}
}

// wait is how long it is expected to take until n are served by so many sessions, in each of
// which a signature takes least. How many were served counts where there have been waiters for
// longer than patience: else it may be a burst, at whose beginning the machine is busy with
// key exchanges, and signatures that come slowly then come fast after that. A token that
// stands still is expected to go on as before: that may be over in a moment, and how long it is
// waited for is bounded elsewhere. 0: nothing is known.
func (f *flow) wait(n, sessions int, least, patience time.Duration, now time.Time) (expected time.Duration) {
	if sessions == 0 {
		return 0 // a process is about to come, or the queue to be closed
	}
	expected = least * time.Duration(n) / time.Duration(sessions)
	if f.served > 0 && now.Sub(f.began) > patience {
		expected = max(expected, time.Duration(float64(f.last.Sub(f.since))*float64(n)/f.served))
	}
	return expected
}
