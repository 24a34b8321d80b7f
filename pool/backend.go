package pool

import (
	"sync/atomic"
	"time"
)

const (
	firstPause = time.Second
	maxPause   = 10 * time.Second // of a backend that is down: it is dialled, which costs no user anything
	// maxEjection is the longest pause of a backend that is ejected: the request
	// that ends it may fail.
	maxEjection = time.Minute
	// maxStreak is how many requests in a row a backend fails before it is ejected. A
	// response to any other request in between begins the count anew, so that one path that
	// always fails ejects nobody.
	maxStreak = 5
)

// backend is one address and what is known of it. Fields that are not atomic are
// guarded by the pool's mutex.
type backend struct {
	address string
	state   state

	// epoch counts the changes of state. What a try learnt speaks for the
	// state it began in: a long response that began before its backend went
	// away must not bring it back, and ten tries that fail together are one
	// failure.
	epoch uint64

	pause   time.Duration // the present pause before jitter; 0 when up
	until   time.Time     // when the present pause ends
	probing bool          // a probe is under way

	failures int
	isUp     atomic.Bool  // follows state, for a look without the mutex
	streak   atomic.Int64 // requests in a row that it failed after it was reached

	_        [64]byte // inFlight alone changes with each request
	inFlight atomic.Int64
}

// dialDue reports whether b, which is down, is to be dialled.
func (b *backend) dialDue(now time.Time) bool {
	return b.state == down && !b.probing && !now.Before(b.until)
}

// trialDue reports whether b, which is ejected, takes a request as a probe. One that can be
// sent again elsewhere is preferred: others come when none of those came for a while.
func (b *backend) trialDue(now time.Time, repeatable bool) bool {
	due := b.until
	if !repeatable {
		due = due.Add(maxPause)
	}
	return b.state == ejected && !b.probing && !now.Before(due)
}

// nextPause is the pause after one more failure.
func (b *backend) nextPause(most time.Duration) time.Duration {
	return min(max(b.pause*2, firstPause), most)
}
