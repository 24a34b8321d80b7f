package hsm

import "fmt"

// State is what a token is fit for.
type State uint8

// The states of a token.
const (
	// Starting: a signer process is being started; signatures wait for it.
	Starting State = iota
	// Up: signatures are made.
	Up
	// Down: the last try to reach the token failed; another follows after a
	// pause. Signatures fail at once.
	Down
	// Locked: the token refused the PIN. Nothing is tried again, since tokens
	// lock themselves after a few wrong tries.
	Locked
)

func (s State) String() string {
	names := [...]string{Starting: "starting", Up: "up", Down: "down", Locked: "locked"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// States are all states, in the order of their numbers.
var States = []State{Starting, Up, Down, Locked}

// transitions are the changes that can happen; any other is a mistake of this
// package. Up goes to Starting when its process ends, to Down when it is stopped.
var transitions = map[State][]State{
	Starting: {Up, Down, Locked},
	Up:       {Starting, Down},
	Down:     {Starting, Down},
	Locked:   {Down},
}
