package pool

import "slices"

// state says whether the last thing learnt of a backend was good.
type state int

const (
	up   state = iota // takes its turn
	down              // passed over until its pause ends, then probed
)

func (s state) String() string {
	switch s {
	case up:
		return "up"
	case down:
		return "down"
	}
	return "unknown"
}

// transitions holds every change of state there is; anything absent is refused.
var transitions = map[state][]state{
	up:   {down},
	down: {up},
}

func (s state) mayBecome(to state) bool { return slices.Contains(transitions[s], to) }
