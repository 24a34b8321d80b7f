package hsm

import (
	"context"
	"errors"
	"testing"
	"time"
)

// taking starts a take and returns where it will tell of its end.
func taking(ctx context.Context, q *queue, l lane) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := q.take(ctx, l, nil)
		done <- err
	}()
	return done
}

// waiting waits until so many wait in a lane.
func waiting(t *testing.T, q *queue, l lane, n int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		q.mu.Lock()
		now := q.lanes[l].waiters
		q.mu.Unlock()
		if now == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, want %d", now, n)
		}
	}
}

func mustTake(t *testing.T, q *queue, l lane) *seat {
	t.Helper()
	s, err := q.take(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestQueue_FirstComeFirstServed(t *testing.T) {
	q := &queue{limit: 10}
	q.add(&process{}, 1)
	s := mustTake(t, q, laneECDSA)
	first := taking(t.Context(), q, laneECDSA)
	waiting(t, q, laneECDSA, 1)
	second := taking(t.Context(), q, laneECDSA)
	waiting(t, q, laneECDSA, 2)
	q.give(s, laneECDSA)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	select {
	case <-second:
		t.Fatal("two have the one session")
	default:
	}
	q.give(s, laneECDSA)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
}

func TestQueue_SlowRSALeavesSessionsToECDSA(t *testing.T) {
	q := &queue{limit: 10}
	q.add(&process{}, 4)
	s := mustTake(t, q, laneECDSA)
	q.give(s, laneECDSA)
	for range 3 {
		mustTake(t, q, laneRSA)
	}
	fourth := taking(t.Context(), q, laneRSA)
	waiting(t, q, laneRSA, 1)
	e := mustTake(t, q, laneECDSA) // though RSA waits before it
	q.give(e, laneECDSA)
	q.give(s, laneRSA)
	if err := <-fourth; err != nil {
		t.Fatal(err)
	}
}

func TestQueue_RSAAloneHasAllSessions(t *testing.T) {
	q := &queue{limit: 10}
	q.add(&process{}, 2)
	mustTake(t, q, laneRSA)
	mustTake(t, q, laneRSA)
}

func TestQueue_IsBounded(t *testing.T) {
	q := &queue{limit: 1}
	q.add(&process{}, 1)
	mustTake(t, q, laneECDSA)
	taking(t.Context(), q, laneECDSA)
	waiting(t, q, laneECDSA, 1)
	if _, err := q.take(t.Context(), laneECDSA, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	taking(t.Context(), q, laneRSA) // its own lane has room
	waiting(t, q, laneRSA, 1)
	q.close(ErrDown)
}

func TestQueue_WhoGivesUpLeaves(t *testing.T) {
	q := &queue{limit: 10}
	q.add(&process{}, 1)
	s := mustTake(t, q, laneECDSA)
	ctx, cancel := context.WithCancel(t.Context())
	gone := taking(ctx, q, laneECDSA)
	waiting(t, q, laneECDSA, 1)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	q.give(s, laneECDSA)
	mustTake(t, q, laneECDSA) // the session is not lost with it
	if n := q.load(); n != 1 {
		t.Errorf("load %d, want 1", n)
	}
}

func TestQueue_ATokenThatGoesDownFailsAllAtOnce(t *testing.T) {
	q := &queue{limit: 10}
	seat := q.add(&process{}, 1)
	mustTake(t, q, laneECDSA)
	waits := taking(t.Context(), q, laneRSA)
	waiting(t, q, laneRSA, 1)
	q.remove(seat)
	q.close(ErrDown)
	if err := <-waits; !errors.Is(err, ErrDown) {
		t.Errorf("got %v, want ErrDown", err)
	}
	if _, err := q.take(t.Context(), laneECDSA, nil); !errors.Is(err, ErrDown) {
		t.Errorf("got %v, want ErrDown", err)
	}
	q.give(seat, laneECDSA) // the old process is done with what it had: nobody gets its session
	q.add(&process{}, 1)
	if s := mustTake(t, q, laneECDSA); s == seat {
		t.Error("got a session of the process that is gone")
	}
}

func TestPace_CostsMoreWhileItEasesIn(t *testing.T) {
	var p pace
	now := time.Now()
	p.note(laneECDSA, 2*time.Millisecond, true)
	well := p.cost(laneECDSA, 0, now)
	if busy := p.cost(laneECDSA, 3, now); busy != 4*well {
		t.Errorf("with three before it %v, want four times %v", busy, well)
	}
	p.returned(now)
	p.note(laneECDSA, 2*time.Millisecond, true)
	back := p.cost(laneECDSA, 0, now)
	later := p.cost(laneECDSA, 0, now.Add(easeIn/2))
	settled := p.cost(laneECDSA, 0, now.Add(easeIn))
	if !(back > later && later > settled && settled == well) {
		t.Errorf("costs %v at first, %v later, %v in the end, %v before", back, later, settled, well)
	}
}

// takeNot takes a session of another process than not.
func takeNot(t *testing.T, q *queue, not *process) *seat {
	t.Helper()
	s, err := q.take(t.Context(), laneECDSA, not)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestQueue_AnotherProcessWhenOneHasRefused(t *testing.T) {
	q := &queue{limit: 10}
	one, two := q.add(&process{}, 4), q.add(&process{}, 1)
	if s := takeNot(t, q, one.process); s != two {
		t.Error("got the process that was not wanted, since it has more sessions free")
	}
	picky := make(chan *seat)
	go func() { picky <- takeNot(t, q, one.process) }()
	waiting(t, q, laneECDSA, 1)
	// Who waits for the busy process does not hold up those that take any.
	if s := mustTake(t, q, laneECDSA); s != one {
		t.Error("a session of the busy process")
	}
	q.give(one, laneECDSA)
	q.give(two, laneECDSA)
	if s := <-picky; s != two {
		t.Error("whoever waited got the process that it did not want")
	}
}

func TestQueue_AProcessThatHasEndedGetsNothingNew(t *testing.T) {
	q := &queue{limit: 10}
	ended, condemned := &process{ended: make(chan struct{})}, &process{condemned: make(chan struct{})}
	q.add(ended, 9)
	q.add(condemned, 9)
	well := q.add(&process{}, 1)
	close(ended.ended)
	close(condemned.condemned)
	if s := mustTake(t, q, laneECDSA); s != well {
		t.Error("got a process that will not answer")
	}
}

// What a signature takes at the least is not what it takes while many others are made.
func TestPace_KnowsTheQuickest(t *testing.T) {
	var p pace
	const slow, quick = 80 * time.Millisecond, 2 * time.Millisecond
	p.note(laneECDSA, slow, true) // the machine is busy as the token starts
	p.note(laneECDSA, quick, false)
	for range 4000 {
		p.note(laneECDSA, slow, false)
	}
	if got := p.quickest(laneECDSA); got != quick {
		t.Errorf("at the least %s, want %s", got, quick)
	}
	if got := p.of(laneECDSA); got < slow*9/10 {
		t.Errorf("on average %s, want %s", got, slow)
	}
	for range 1000 {
		p.note(laneECDSA, slow, true)
	}
	if got := p.quickest(laneECDSA); got < slow*9/10 {
		t.Errorf("at the least %s, and each alone takes %s now", got, slow)
	}
}
