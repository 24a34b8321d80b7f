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
	typical [lanes]atomic.Uint64 // likewise, of which one that takes long moves little
	back    atomic.Int64         // when it came back, Unix nanoseconds
}

// paceWeight is how much the latest signature counts.
const paceWeight = 1.0 / 8

// outlier is how many times the typical time a signature may take to count in whole in it.
const outlier = 4

func (p *pace) note(l lane, took time.Duration) {
	move(&p.average[l], took.Seconds(), math.Inf(1))
	move(&p.typical[l], took.Seconds(), outlier)
}

// move brings an average nearer to latest, of which as many averages count as most.
func move(average *atomic.Uint64, latest, most float64) {
	for {
		old := average.Load()
		now := latest
		if old != 0 {
			was := math.Float64frombits(old)
			now = was*(1-paceWeight) + min(latest, was*most)*paceWeight
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

// most is what most signatures of a lane take; 0: nothing is known.
func (p *pace) most(l lane) time.Duration {
	return time.Duration(math.Float64frombits(p.typical[l].Load()) * float64(time.Second))
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
		p.typical[l].Store(0)
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
