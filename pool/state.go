package pool

import "slices"

// state says whether the last thing learnt of a backend was good.
type state int

const (
	up      state = iota // takes its turn
	down                 // no connection to it comes about: passed over until a probe makes one
	ejected              // takes connections and fails its requests: passed over until one succeeds
)

func (s state) String() string {
	switch s {
	case up:
		return "up"
	case down:
		return "down"
	case ejected:
		return "ejected"
	}
	return "unknown"
}

// transitions holds every change of state there is; anything absent is refused. A backend
// that is down and can be reached again is up until it fails requests.
var transitions = map[state][]state{
	up:      {down, ejected},
	down:    {up},
	ejected: {up, down},
}

func (s state) mayBecome(to state) bool { return slices.Contains(transitions[s], to) }
