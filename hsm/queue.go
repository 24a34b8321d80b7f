package hsm

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"sallyport/hsm/wire"
)

// ErrBusy: so many signatures wait that another one would, or did, wait in vain.
// Nothing is wrong with the key. It has a method Busy, by which those who do not
// know this package can tell it from a failure.
var ErrBusy error = busyError{}

type busyError struct{}

func (busyError) Error() string { return "too many signatures wait" }
func (busyError) Busy() bool    { return true }

// lane is a kind of signature with a queue of its own, so that slow RSA never
// stands in front of ECDSA.
type lane uint8

const (
	laneECDSA lane = iota
	laneRSA
	lanes
)

func laneOf(s wire.Scheme) lane {
	if s == wire.ECDSA {
		return laneECDSA
	}
	return laneRSA
}

func (l lane) String() string {
	if l == laneECDSA {
		return "ecdsa"
	}
	return "rsa"
}

// queue hands out a token's sessions: each process has some, and a signature
// that finds none free waits in its lane, first come, first served. A waiter
// whose context ends leaves its lane at once. In a lane that is full, who comes takes the
// place of the last one of the client with the most (share.go).
//
// Where both kinds are asked for, RSA leaves an eighth of the sessions (one at
// least) to ECDSA. A device that works off one call after the other delays
// ECDSA all the same.
type queue struct {
	limit int // waiters in a lane

	mu      sync.Mutex
	seats   []*seat
	waiting [lanes][]*waiter
	shares  [lanes]shares
	busy    [lanes]int
	used    [lanes]bool // has ever been asked for
	closed  error       // why nobody can be served now nor soon; nil: worth waiting
}

// seat is a process and how many of its sessions are free.
type seat struct {
	process  *process
	sessions int
	free     int
}

type waiter struct {
	seat chan *seat // gets one, or is closed when the wait is in vain
	not  *process   // whose session it does not want; nil: any will do
	client
	ousted bool // by another client; set before seat is closed
}

// take waits for a session of a process other than not, which may be nil. It
// fails with ErrBusy when the lane is full, or its place in a full one went to
// another client, with what close was given when the token is down, and with ctx's error.
func (q *queue) take(ctx context.Context, l lane, not *process) (*seat, error) {
	q.mu.Lock()
	q.used[l] = true
	if q.closed != nil {
		defer q.mu.Unlock()
		return nil, q.closed
	}
	if !slices.ContainsFunc(q.waiting[l], func(w *waiter) bool { return w.not == nil }) {
		if s := q.seatFor(l, not); s != nil {
			q.mu.Unlock()
			return s, nil
		}
	}
	w := &waiter{seat: make(chan *seat, 1), not: not, client: clientOf(ctx)}
	if len(q.waiting[l]) >= q.limit && !q.oust(l, w.client) {
		defer q.mu.Unlock()
		return nil, q.full()
	}
	q.waiting[l] = append(q.waiting[l], w)
	q.shares[l].add(w.client)
	q.mu.Unlock()

	select {
	case s, ok := <-w.seat:
		switch {
		case ok:
			return s, nil
		case w.ousted:
			return nil, q.full()
		}
		return nil, q.reason()
	case <-ctx.Done():
	}
	q.mu.Lock()
	if i := slices.Index(q.waiting[l], w); i >= 0 {
		q.waiting[l] = slices.Delete(q.waiting[l], i, i+1)
		q.shares[l].remove(w.client)
		q.mu.Unlock()
		return nil, ctx.Err()
	}
	q.mu.Unlock()
	// It was served in the same moment: the session goes to the next one.
	if s, ok := <-w.seat; ok {
		q.give(s, l)
	}
	return nil, ctx.Err()
}

// oust makes room in a full lane for another of c's, and says whether it could. The
// caller holds mu.
func (q *queue) oust(l lane, c client) bool {
	greedy, ok := q.shares[l].greedier(c)
	if !ok {
		return false
	}
	for i, w := range slices.Backward(q.waiting[l]) {
		if w.client == greedy {
			q.waiting[l] = slices.Delete(q.waiting[l], i, i+1)
			q.shares[l].remove(greedy)
			w.ousted = true
			close(w.seat)
			return true
		}
	}
	return false
}

func (q *queue) full() error { return fmt.Errorf("%w (%d)", ErrBusy, q.limit) }

func (q *queue) reason() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	return ErrDown
}

// seatFor takes a session of the process with the most free ones, other than
// not, or returns nil. The caller holds mu.
func (q *queue) seatFor(l lane, not *process) *seat {
	var best *seat
	total := 0
	for _, s := range q.seats {
		if s.process.leaving() {
			continue // its supervisor is about to remove it
		}
		total += s.sessions
		if s.free > 0 && s.process != not && (best == nil || s.free > best.free) {
			best = s
		}
	}
	if best == nil || l == laneRSA && q.used[laneECDSA] && total > 1 && q.busy[laneRSA] >= total-max(1, total/8) {
		return nil
	}
	best.free--
	q.busy[l]++
	return best
}

// give returns a session, and with it the next waiter its turn.
func (q *queue) give(s *seat, l lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.free++
	q.busy[l]--
	q.serve()
}

// serve gives free sessions to waiters, ECDSA first: it is done soonest. Who
// wants another process than the one that is free does not hold up the others.
// The caller holds mu.
func (q *queue) serve() {
	for l := range lanes {
		q.waiting[l] = slices.DeleteFunc(q.waiting[l], func(w *waiter) bool {
			s := q.seatFor(l, w.not)
			if s != nil {
				w.seat <- s
				q.shares[l].remove(w.client)
			}
			return s != nil
		})
	}
}

// add opens a process's sessions to the waiting.
func (q *queue) add(p *process, sessions int) *seat {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := &seat{process: p, sessions: sessions, free: sessions}
	q.seats = append(q.seats, s)
	q.closed = nil
	q.serve()
	return s
}

// remove takes a process out of use. What is under way on it goes on.
func (q *queue) remove(s *seat) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.seats, s); i >= 0 {
		q.seats = slices.Delete(q.seats, i, i+1)
	}
}

// close fails all that waits, and all that comes, with why, until open or add.
func (q *queue) close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = why
	for l := range lanes {
		for _, w := range q.waiting[l] {
			close(w.seat)
		}
		q.waiting[l], q.shares[l] = nil, nil
	}
}

// open lets signatures wait again: a process is about to come.
func (q *queue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = nil
}

// load is how many signatures wait or are under way.
func (q *queue) load() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for l := range lanes {
		n += q.busy[l] + len(q.waiting[l])
	}
	return n
}

// loads is, by lane, how many signatures are under way and how many wait, and
// how many sessions there are for all of them.
func (q *queue) loads() (busy, waiting [lanes]int, sessions int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for l := range lanes {
		waiting[l] = len(q.waiting[l])
	}
	for _, s := range q.seats {
		sessions += s.sessions
	}
	return q.busy, waiting, sessions
}

// hasOther says whether a process other than p is in use.
func (q *queue) hasOther(p *process) bool {
	return slices.ContainsFunc(q.processes(), func(o *process) bool { return o != p })
}

// processes are those in use.
func (q *queue) processes() []*process {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []*process
	for _, s := range q.seats {
		all = append(all, s.process)
	}
	return all
}
