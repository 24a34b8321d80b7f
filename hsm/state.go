package hsm

import "fmt"

// State is what a token is fit for.
type State uint8

// The states of a token.
const (
	// Starting: a signer process is being started; signatures wait for it.
	Starting State = iota
	// Up: all signer processes make signatures.
	Up
	// Degraded: some do, others are being replaced.
	Degraded
	// Down: the last try to reach the token failed; another follows after a
	// pause. Signatures fail at once.
	Down
	// Locked: the token refused the PIN, or may have counted logins that were
	// lost. Nothing is tried again before Unlock, since tokens lock themselves
	// after a few wrong tries.
	Locked
)

// States are all states, in the order of their numbers.
var States = []State{Starting, Up, Degraded, Down, Locked}

func (s State) String() string {
	names := [...]string{Starting: "starting", Up: "up", Degraded: "degraded", Down: "down", Locked: "locked"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Live says whether signatures are made, or will be in a moment.
func (s State) Live() bool { return s == Starting || s == Up || s == Degraded }

// transitions are the changes that can happen; any other is a mistake of this
// package. A token is starting again as soon as its last process has ended.
var transitions = map[State][]State{
	Starting: {Up, Degraded, Down, Locked},
	Up:       {Degraded, Starting, Down, Locked},
	Degraded: {Up, Starting, Down, Locked},
	Down:     {Starting, Up, Degraded, Locked},
	Locked:   {Starting, Up, Degraded, Down},
}
