package hsm

import (
	"math"
	"sync/atomic"
	"time"
)

// pace is how fast a token has been of late: for each lane a moving average of
// the time that a signature takes once it has a session, and since when the
// token is back.
type pace struct {
	average [lanes]atomic.Uint64 // seconds, as a float64's bits; 0: nothing is known
	back    atomic.Int64         // when it came back, Unix nanoseconds
}

// paceWeight is how much the latest signature counts.
const paceWeight = 1.0 / 8

func (p *pace) note(l lane, took time.Duration) {
	for {
		old := p.average[l].Load()
		now := took.Seconds()
		if old != 0 {
			now = math.Float64frombits(old)*(1-paceWeight) + now*paceWeight
		}
		if p.average[l].CompareAndSwap(old, math.Float64bits(now)) {
			return
		}
	}
}

// of is the average of a lane; 0: nothing is known.
func (p *pace) of(l lane) time.Duration {
	return time.Duration(math.Float64frombits(p.average[l].Load()) * float64(time.Second))
}

const (
	// easeIn is how long a token that returns takes less than its share: what
	// made it go may not be over, and its caches are cold.
	easeIn = 20 * time.Second
	// easeFactor is how much slower than it is it counts at first.
	easeFactor = 10
)

// returned begins the time of easing in.
func (p *pace) returned(now time.Time) {
	p.back.Store(now.UnixNano())
	for l := range lanes {
		p.average[l].Store(0)
	}
}

// cost is what one more signature costs when load of them are under way or
// wait: the expected time in seconds, more while the token is easing in.
func (p *pace) cost(l lane, load int, now time.Time) float64 {
	const unknown = 1e-3
	average := math.Float64frombits(p.average[l].Load())
	if average == 0 {
		average = unknown
	}
	cost := float64(load+1) * average
	if since := now.Sub(time.Unix(0, p.back.Load())); since < easeIn {
		left := 1 - float64(since)/float64(easeIn)
		cost *= 1 + (easeFactor-1)*left
	}
	return cost
}
