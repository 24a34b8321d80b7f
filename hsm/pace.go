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
	quick   [lanes]atomic.Uint64 // likewise, of what it takes at the least
	back    atomic.Int64         // when it came back, Unix nanoseconds
}

// paceWeight is how much the latest signature counts.
const paceWeight = 1.0 / 8

const (
	// quickWeight is how much the latest signature counts for quick where it took longer, and
	// was alone: others delay it where there is little to compute with.
	quickWeight = 1.0 / 64
	// outlier is how many times quick a signature counts as at most: one that hung says nothing.
	outlier = 4
)

// note notes a signature; alone says that no other one was under way or waited as it began.
func (p *pace) note(l lane, took time.Duration, alone bool) {
	move(&p.average[l], func(was float64) float64 { return was + (took.Seconds()-was)*paceWeight }, took)
	move(&p.quick[l], func(was float64) float64 {
		switch now := took.Seconds(); {
		case now < was:
			return now
		case alone:
			return was + (min(now, outlier*was)-was)*quickWeight
		}
		return was
	}, took)
}

// move sets an average to what by makes of it, or to the first value that there is.
func move(average *atomic.Uint64, by func(was float64) float64, first time.Duration) {
	for {
		old := average.Load()
		now := first.Seconds()
		if old != 0 {
			now = by(math.Float64frombits(old))
		}
		if average.CompareAndSwap(old, math.Float64bits(now)) {
			return
		}
	}
}

// of is the average of a lane; 0: nothing is known.
func (p *pace) of(l lane) time.Duration {
	return time.Duration(math.Float64frombits(p.average[l].Load()) * float64(time.Second))
}

// quickest is what the quickest signatures of a lane have taken of late; 0: nothing is known.
func (p *pace) quickest(l lane) time.Duration {
	return time.Duration(math.Float64frombits(p.quick[l].Load()) * float64(time.Second))
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
		p.quick[l].Store(0)
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
