package hsm

import (
	"slices"
	"time"

	"sallyport/hsm/wire"
)

// TokenStatus is a snapshot of a token for the admin side.
type TokenStatus struct {
	Name   string
	State  State
	Since  time.Time // when it came into that state
	Reason error     // for it, when it is Degraded, Down or Locked
	Info   wire.TokenInfo
	Read   time.Time // when its objects were last read; zero: never

	Processes int // that there should be
	Up        int // of them
	Sessions  int // of those that are up
	Restarts  int // processes that took the place of another one
	Lanes     []LaneStatus
	Trouble   Trouble
}

// LaneStatus is what one kind of signature is at.
type LaneStatus struct {
	Kind     string // ecdsa or rsa
	InFlight int    // that the token is busy with
	Waiting  int    // for a session
	// Pace is the moving average of the time that one takes; 0: nothing is known.
	Pace time.Duration
}

// Trouble is the last error of a token, also one that it has got over. The zero
// value is none.
type Trouble struct {
	Err  error
	Time time.Time
}

// Status returns what is known of the token now.
func (t *Token) Status() TokenStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := TokenStatus{
		Name: t.Name(), State: t.state, Since: t.since, Reason: t.reason,
		Info: t.inventory.Token, Read: t.read,
		Processes: len(t.phases), Restarts: t.restarts, Trouble: t.trouble,
	}
	for _, p := range t.phases {
		if p == phaseUp {
			s.Up++
		}
	}
	busy, waiting, sessions := t.queue.loads()
	s.Sessions = sessions
	for _, l := range []lane{laneECDSA, laneRSA} {
		s.Lanes = append(s.Lanes, LaneStatus{Kind: l.String(), InFlight: busy[l], Waiting: waiting[l], Pace: t.pace.of(l)})
	}
	return s
}

// EntryStatus is what has become of an Entry of a site.
type EntryStatus struct {
	Entry Entry
	// Pairs are what is served: the first one, and the others as its fallbacks.
	Pairs []*Pair
	// Kept: the pairs are no longer what should be served, and are served for
	// want of anything better.
	Kept bool
	// Problems are why other keys and certificates that the entry names are not
	// served.
	Problems []*EntryError
}

// Entries returns what has become of each entry of the site, in their order.
func (c *Certificates) Entries() []EntryStatus {
	var all []EntryStatus
	for i, s := range *c.serving.Load() {
		all = append(all, EntryStatus{Entry: c.entries[i], Pairs: slices.Clone(s.pairs), Kept: s.kept, Problems: slices.Clone(s.problems)})
	}
	return all
}
