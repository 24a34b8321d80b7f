package hsm

import (
	"cmp"
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"sallyport/hsm/wire"
)

// lane is a kind of signature with a queue of its own, so that slow RSA never
// stands in front of ECDSA.
type lane uint8

const (
	laneECDSA lane = iota
	laneRSA
	lanes
)

// laneWeights are the parts of the sessions' time that each lane has where signatures of
// both wait. In most devices one by ECDSA takes a tenth of the time of one by RSA, and it
// is what nearly all clients ask for.
var laneWeights = [lanes]float64{laneECDSA: 3, laneRSA: 1}

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

// queue hands out a token's sessions: each process has some, and a signature that finds
// none free waits in its lane, where clients take turns (turns.go). A waiter whose context
// ends leaves at once, and one whose client has hung up is dropped when its turn comes.
//
// Who comes is refused where the wait is expected to take longer than there is time. Who
// waits keeps its place, but for one case: a lane of limit waiters, which is a bound for
// memory, takes in a client with fewer of them in place of the last one of a client with the
// most.
//
// Where signatures of both lanes wait, they share the sessions' time by weight. And where
// both kinds are asked for, RSA leaves an eighth of the sessions (one at least) to ECDSA. A
// device that works off one call after the other delays ECDSA all the same.
type queue struct {
	limit    int           // waiters in a lane
	patience time.Duration // for the next session to come free; 0: no bound
	pace     *pace         // how long signatures take; nil: nothing is known

	mu      sync.Mutex
	seats   []*seat
	lanes   [lanes]queued
	virtual float64 // when the last session was given, in the time that spent counts
	closed  error   // why nobody can be served now nor soon; nil: worth waiting
}

// queued is a lane of a queue.
type queued struct {
	waiting turns
	choosy  map[*process]*turns // who waits for any process but this one
	waiters int                 // in all of these
	busy    int
	used    bool // has ever been asked for

	// spent is the sessions' time that the lane has had, divided by its weight; a lane that
	// asked for none for a while starts where the others are (start-time fair queueing).
	spent float64
	flow  flow
}

// seat is a process and how many of its sessions are free.
type seat struct {
	process  *process
	sessions int
	free     int
}

// take waits for a session of a process other than not, which may be nil. It fails with
// ErrBusy where the wait would be too long or its place went to another client, with ErrLeft
// where the client has hung up, with what close was given when the token is down, and with
// context.DeadlineExceeded or ctx's error where the wait was in vain.
func (q *queue) take(ctx context.Context, l lane, not *process) (*seat, error) {
	if err := ctx.Err(); err != nil {
		return nil, err // it asks for nobody
	}
	q.mu.Lock()
	q.lanes[l].used = true
	if q.closed != nil {
		defer q.mu.Unlock()
		return nil, q.closed
	}
	if q.lanes[l].waiting.waiting == 0 {
		if s := q.free(l, not); s != nil {
			q.grant(s, l)
			q.mu.Unlock()
			return s, nil
		}
	}
	w := &waiter{asker: askerOf(ctx), seat: make(chan *seat, 1)}
	err := q.admit(ctx, w, l, not, time.Now())
	q.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return q.await(ctx, w, l)
}

// waiter is a signature that waits.
type waiter struct {
	asker
	seat chan *seat // gets one, or is closed when the wait is in vain
	why  error      // set before seat is closed
	in   *turns
	at   *list.Element // of its client's line in there; nil: it waits no more
}

// admit has w wait, or says why not. The caller holds mu.
func (q *queue) admit(ctx context.Context, w *waiter, l lane, not *process, now time.Time) error {
	in := &q.lanes[l]
	if in.waiters == 0 {
		in.flow.begin(now)
	}
	if end, ok := ctx.Deadline(); ok && not == nil { // else it has waited once already
		left := end.Sub(now)
		if expected := in.flow.wait(in.waiting.ahead(w.client)+1, q.sessions(), q.quickest(l), left, now); expected > left {
			return errTooLong(expected, left)
		}
	}
	if in.waiters >= q.limit && !q.oust(l, w.client) {
		return errFull(q.limit)
	}
	w.in = &in.waiting
	if not != nil {
		if in.choosy[not] == nil {
			if in.choosy == nil {
				in.choosy = make(map[*process]*turns)
			}
			in.choosy[not] = new(turns)
		}
		w.in = in.choosy[not]
	}
	w.in.add(w)
	in.waiters++
	return nil
}

// await waits for w to be served.
func (q *queue) await(ctx context.Context, w *waiter, l lane) (*seat, error) {
	var stalled <-chan time.Time
	var timer *time.Timer
	if q.patience > 0 {
		timer = time.NewTimer(q.patience)
		defer timer.Stop()
		stalled = timer.C
	}
	for {
		select {
		case s, ok := <-w.seat:
			if !ok {
				return nil, w.why
			}
			return s, nil
		case <-ctx.Done():
			return nil, q.leave(w, l, ctx.Err())
		case <-stalled:
			left := q.patienceLeft(l)
			if left <= 0 {
				return nil, q.leave(w, l, context.DeadlineExceeded)
			}
			timer.Reset(left)
		}
	}
}

// patienceLeft is how long the next session of a lane's may still take to come free.
func (q *queue) patienceLeft(l lane) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.patience - time.Since(q.lanes[l].flow.last)
}

// leave takes w out of the queue, and returns why.
func (q *queue) leave(w *waiter, l lane, why error) error {
	q.mu.Lock()
	if w.at != nil {
		q.quit(w, l)
		q.mu.Unlock()
		return why
	}
	q.mu.Unlock()
	// It was served in the same moment: the session goes to the next one.
	if s, ok := <-w.seat; ok {
		q.give(s, l)
	}
	return why
}

// quit takes out who waits. The caller holds mu.
func (q *queue) quit(w *waiter, l lane) {
	w.in.remove(w)
	q.lanes[l].waiters--
}

// dismiss tells w that it waits in vain. The caller holds mu.
func (q *queue) dismiss(w *waiter, l lane, why error) {
	q.quit(w, l)
	w.why = why
	close(w.seat)
}

// oust makes room in a full lane for another of c's, and reports whether it could. The
// caller holds mu.
func (q *queue) oust(l lane, c client) bool {
	w := q.lanes[l].waiting.greediest(c)
	if w == nil {
		return false
	}
	q.dismiss(w, l, errFull(q.limit))
	return true
}

// sessions is how many there are in all. The caller holds mu.
func (q *queue) sessions() (n int) {
	for _, s := range q.seats {
		if !s.process.leaving() {
			n += s.sessions
		}
	}
	return n
}

// quickest is what the quickest signatures of l have taken of late; 0: nothing is known.
func (q *queue) quickest(l lane) time.Duration {
	if q.pace == nil {
		return 0
	}
	return q.pace.quickest(l)
}

// takes is what a signature of l takes on average.
func (q *queue) takes(l lane) time.Duration {
	const unknown = time.Millisecond
	if q.pace == nil {
		return unknown
	}
	return cmp.Or(q.pace.of(l), unknown)
}

// free is the process with the most free sessions, other than not; nil: there is none that l
// may have. The caller holds mu.
func (q *queue) free(l lane, not *process) *seat {
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
	if l == laneRSA && q.lanes[laneECDSA].used && total > 1 && q.lanes[laneRSA].busy >= total-max(1, total/8) {
		return nil
	}
	return best
}

// grant takes a session. The caller holds mu.
func (q *queue) grant(s *seat, l lane) {
	s.free--
	in := &q.lanes[l]
	in.busy++
	q.virtual = q.start(l)
	in.spent = q.virtual + q.takes(l).Seconds()/laneWeights[l]
}

// start is when the lane's next session would begin, in the time that spent counts: the lane
// with the least is the next one. The caller holds mu.
func (q *queue) start(l lane) float64 { return max(q.virtual, q.lanes[l].spent) }

// give returns a session, and with it the next waiter its turn.
func (q *queue) give(s *seat, l lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.free++
	q.lanes[l].busy--
	q.serve()
}

// serve gives free sessions to waiters. Who wants another process than the one that is free
// does not hold up the others. The caller holds mu.
func (q *queue) serve() {
	if q.lanes[laneECDSA].waiters+q.lanes[laneRSA].waiters == 0 {
		return
	}
	for now := time.Now(); ; {
		first, second := laneECDSA, laneRSA
		if q.start(laneRSA) < q.start(laneECDSA) {
			first, second = second, first
		}
		if !q.serveLane(first, now) && !q.serveLane(second, now) {
			return
		}
	}
}

// serveLane serves one of a lane's waiters, and reports whether it could.
func (q *queue) serveLane(l lane, now time.Time) bool {
	in := &q.lanes[l]
	for not, t := range in.choosy {
		if q.serveNext(l, t, not, now) {
			return true
		}
		if t.waiting == 0 {
			delete(in.choosy, not)
		}
	}
	return q.serveNext(l, &in.waiting, nil, now)
}

// serveNext serves the next of t, who want another process than not. Those whose client has
// hung up cost the token nothing.
func (q *queue) serveNext(l lane, t *turns, not *process, now time.Time) bool {
	if t.waiting == 0 {
		return false
	}
	s := q.free(l, not)
	if s == nil {
		return false
	}
	in := &q.lanes[l]
	for w := t.next(); w != nil; w = t.next() {
		in.flow.count(now)
		if w.left() {
			q.dismiss(w, l, ErrLeft)
			continue
		}
		q.grant(s, l)
		t.serve()
		in.waiters--
		w.seat <- s
		return true
	}
	return false
}

// add opens a process's sessions to the waiting.
func (q *queue) add(p *process, sessions int) *seat {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := &seat{process: p, sessions: sessions, free: sessions}
	q.seats = append(q.seats, s)
	q.closed = nil
	now := time.Now()
	for l := range lanes {
		q.lanes[l].flow.begin(now) // while there was no process nobody could be served
	}
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
		all := q.lanes[l].waiting.all()
		for _, t := range q.lanes[l].choosy {
			all = append(all, t.all()...)
		}
		for _, w := range all {
			q.dismiss(w, l, why)
		}
		q.lanes[l].choosy = nil
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
		n += q.lanes[l].busy + q.lanes[l].waiters
	}
	return n
}

// loads is, by lane, how many signatures are under way and how many wait, and
// how many sessions there are for all of them.
func (q *queue) loads() (busy, waiting [lanes]int, sessions int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for l := range lanes {
		busy[l], waiting[l] = q.lanes[l].busy, q.lanes[l].waiters
	}
	for _, s := range q.seats {
		sessions += s.sessions
	}
	return busy, waiting, sessions
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
