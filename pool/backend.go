package pool

import (
	"sync/atomic"
	"time"
)

const (
	firstPause = time.Second
	maxPause   = 10 * time.Second
)

// backend is one address and what is known of it. Fields that are not atomic are
// guarded by the pool's mutex.
type backend struct {
	address string
	state   state

	// epoch counts the changes of state. What a try learnt speaks for the
	// state it began in: a long answer that began before its backend went
	// away must not bring it back, and ten tries that fail together are one
	// failure.
	epoch uint64

	pause   time.Duration // the present pause before jitter; 0 when up
	until   time.Time     // when the present pause ends
	probing bool          // a probe is under way

	inFlight atomic.Int64
	isUp     atomic.Bool // follows state, for a look without the mutex
	failures int
}

// probeDue reports whether b, which is down, takes a request as a probe.
func (b *backend) probeDue(now time.Time) bool {
	return b.state == down && !b.probing && !now.Before(b.until)
}

// nextPause is the pause after one more failure.
func (b *backend) nextPause() time.Duration {
	return min(max(b.pause*2, firstPause), maxPause)
}
