package hsm

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func clientAt(n byte) client { return client{netip.AddrFrom4([4]byte{192, 0, 2, n})} }

func waiterOf(n byte) *waiter { return &waiter{asker: asker{client: clientAt(n)}} }

// order serves all who wait, and returns whose they were.
func (t *turns) order() (of []byte) {
	for w := t.next(); w != nil; w = t.next() {
		of = append(of, w.addr.AsSlice()[3])
		t.serve()
	}
	return of
}

func TestTurns_ClientsTakeTurns(t *testing.T) {
	for name, test := range map[string]struct{ come, served []byte }{
		"one after the other":  {[]byte{1, 2, 3}, []byte{1, 2, 3}},
		"a thousand of one":    {append(slices.Repeat([]byte{1}, 1000), 2, 3, 2), append([]byte{1, 2, 3, 1, 2}, slices.Repeat([]byte{1}, 998)...)},
		"two with the same":    {[]byte{1, 1, 1, 2, 2, 2}, []byte{1, 2, 1, 2, 1, 2}},
		"some and some others": {[]byte{1, 2, 2, 2, 3, 3}, []byte{1, 2, 3, 2, 3, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			var all turns
			for _, n := range test.come {
				all.add(waiterOf(n))
			}
			if got := all.order(); !slices.Equal(got, test.served) {
				t.Errorf("served %v, want %v", got, test.served)
			}
			if len(all.lines) != 0 || all.ring.Len() != 0 || all.waiting != 0 {
				t.Errorf("nobody waits, and %d clients are known", len(all.lines))
			}
		})
	}
}

// What is said of those ahead is what happens, whoever comes and leaves.
func TestTurns_SaysHowManyAreAhead(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var all turns
		var waiting []*waiter
		for range random.IntN(300) {
			switch n := len(waiting); {
			case n > 0 && random.IntN(5) == 0:
				at := random.IntN(n)
				all.remove(waiting[at])
				waiting = slices.Delete(waiting, at, at+1)
			default:
				w := waiterOf(byte(random.IntN(1 + random.IntN(20))))
				all.add(w)
				waiting = append(waiting, w)
			}
		}
		last := waiterOf(byte(random.IntN(20)))
		want := 0 // of each client those before its first that may come after last
		own := 0
		if l := all.lines[last.client]; l != nil {
			own = l.waiters.Len()
		}
		most := 0
		for _, l := range all.lines {
			want += min(l.waiters.Len(), own+1)
			most = max(most, l.waiters.Len())
		}
		if got := all.ahead(last.client); got != want {
			t.Fatalf("%d are ahead, want %d", got, want)
		}
		switch greedy := all.greediest(last.client); {
		case (greedy != nil) != (most > own+1):
			t.Fatalf("a client with more than %d: %v, and one has %d", own+1, greedy != nil, most)
		case greedy != nil && all.lines[greedy.client].waiters.Len() != most:
			t.Fatalf("has %d, want %d", all.lines[greedy.client].waiters.Len(), most)
		}
		if n := len(all.order()); n != len(waiting) {
			t.Fatalf("%d were served of %d", n, len(waiting))
		}
	}
}

// fill has n wait of a client, and returns where they tell of their end.
func fill(t *testing.T, q *queue, ctx context.Context, n int) <-chan error {
	t.Helper()
	done := make(chan error, n)
	q.mu.Lock()
	before := q.lanes[laneECDSA].waiters
	q.mu.Unlock()
	for range n {
		go func() {
			_, err := q.take(ctx, laneECDSA, nil)
			done <- err
		}()
	}
	waiting(t, q, laneECDSA, before+n)
	return done
}

// device serves a queue's lane as a token does whose signatures take a while each.
func device(q *queue, s *seat, l lane, signature time.Duration, n int) {
	for range n {
		time.Sleep(signature)
		q.give(s, l)
	}
}

// A burst that the token can serve in time is served, whatever the number; more is refused
// as soon as it comes, and nobody who waits pays for it.
func TestQueue_IsBoundedByTheExpectedWait(t *testing.T) {
	const signature, patience = 10 * time.Millisecond, 9 * time.Second
	synctest.Test(t, func(t *testing.T) {
		q := &queue{limit: 100_000, pace: new(pace)}
		q.pace.note(laneECDSA, signature, true)
		seat := q.add(&process{}, 1)
		mustTake(t, q, laneECDSA)
		ctx, cancel := context.WithTimeout(from(t, "192.0.2.1"), patience)
		defer cancel()
		served, refused, late := 0, 0, 0
		ends := make(chan error, 1200)
		for range 1200 {
			go func() {
				_, err := q.take(ctx, laneECDSA, nil)
				ends <- err
			}()
		}
		synctest.Wait()
		for len(ends) > 0 {
			if err := <-ends; !errors.Is(err, ErrBusy) || reasonOf(err) != refusedWait {
				t.Fatalf("got %v", err)
			}
			refused++
		}
		device(q, seat, laneECDSA, signature, 890)
		synctest.Wait()
		for len(ends) > 0 {
			if err := <-ends; err == nil {
				served++
			} else {
				late++
			}
		}
		// The estimate is not off by more than a few: what is under way, and what the clock adds.
		if served < 880 || late > 5 || refused < 295 || refused > 305 {
			t.Errorf("%d served, %d refused, %d in vain", served, refused, late)
		}
		q.close(ErrDown)
	})
}

// 450 users of one address wait, and 500 others come: all are served.
func TestQueue_WhoWaitsKeepsThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{limit: 10_000, pace: new(pace)}
		q.pace.note(laneECDSA, time.Millisecond, true)
		seat := q.add(&process{}, 1)
		mustTake(t, q, laneECDSA)
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		ends := make(chan error, 950)
		come := func(address netip.Addr) {
			go func() {
				_, err := q.take(forClient(ctx, connFrom(address.String())), laneECDSA, nil)
				ends <- err
			}()
			synctest.Wait()
		}
		for range 450 {
			come(netip.MustParseAddr("192.0.2.1"))
		}
		other := netip.MustParseAddr("198.51.100.0")
		for range 500 {
			come(other)
			other = other.Next()
		}
		go device(q, seat, laneECDSA, time.Millisecond, 950)
		for range 950 {
			if err := <-ends; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A token that is slower under load than it seemed has no more wait, in the long run, than it
// serves in time.
func TestQueue_KnowsATokenThatIsSlowUnderLoad(t *testing.T) {
	const seems, signature, patience = time.Millisecond, 20 * time.Millisecond, 9 * time.Second
	synctest.Test(t, func(t *testing.T) {
		q := &queue{limit: 10_000, pace: new(pace)}
		q.pace.note(laneECDSA, seems, true)
		seat := q.add(&process{}, 1)
		mustTake(t, q, laneECDSA)
		ends := make(chan error, 10_000)
		var under sync.WaitGroup
		stop := make(chan struct{})
		under.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					device(q, seat, laneECDSA, signature, 1)
				}
			}
		})
		var results [3]struct{ served, refused, late int }
		for phase := range results { // of ten seconds, with twice what it can do
			for range 1000 {
				time.Sleep(10 * time.Millisecond)
				ctx, cancel := context.WithTimeout(from(t, "192.0.2.1"), patience)
				under.Go(func() {
					defer cancel()
					_, err := q.take(ctx, laneECDSA, nil)
					ends <- err
				})
			}
			for len(ends) > 0 {
				switch err := <-ends; {
				case err == nil:
					results[phase].served++
				case errors.Is(err, ErrBusy):
					results[phase].refused++
				default:
					results[phase].late++
				}
			}
		}
		if last := results[2]; last.served < 450 || last.refused < 400 || last.late > 50 {
			t.Errorf("it went %+v", results)
		}
		time.Sleep(patience)
		close(stop)
		under.Wait()
	})
}

// At the beginning of a burst the machine is busy with key exchanges, and signatures come
// slowly. Nobody is refused for that who can be served in time.
func TestQueue_ABurstIsNotJudgedByItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{limit: 10_000, pace: new(pace)}
		q.pace.note(laneECDSA, time.Millisecond, true)
		seat := q.add(&process{}, 1)
		mustTake(t, q, laneECDSA)
		const burst, arriving = 3000, 5 * time.Second
		ends := make(chan error, burst)
		go func() {
			for range burst {
				time.Sleep(arriving / burst)
				ctx, cancel := context.WithTimeout(from(t, "192.0.2.1"), 9*time.Second)
				go func() {
					defer cancel()
					_, err := q.take(ctx, laneECDSA, nil)
					ends <- err
				}()
			}
		}()
		slow := int(arriving / (50 * time.Millisecond))
		device(q, seat, laneECDSA, 50*time.Millisecond, slow)
		device(q, seat, laneECDSA, time.Millisecond, burst-slow)
		for range burst {
			if err := <-ends; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A token that stands still for a while is no reason to refuse those who can be served after
// that, nor is one signature that took long.
func TestQueue_AStandstillIsNotHeldAgainstWhoComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{limit: 10_000, pace: new(pace)}
		for range 100 {
			q.pace.note(laneECDSA, time.Millisecond, true)
		}
		q.pace.note(laneECDSA, 5*time.Second, true)
		seat := q.add(&process{}, 1)
		mustTake(t, q, laneECDSA)
		ctx, cancel := context.WithTimeout(from(t, "192.0.2.1"), 9*time.Second)
		defer cancel()
		ends := make(chan error, 2000)
		for range 2 {
			for range 1000 {
				go func() {
					_, err := q.take(ctx, laneECDSA, nil)
					ends <- err
				}()
			}
			time.Sleep(3 * time.Second) // it hangs
		}
		device(q, seat, laneECDSA, time.Millisecond, 2000)
		for range 2000 {
			if err := <-ends; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A client that floods delays another one by a signature.
func TestQueue_AClientWaitsForNoOthersFlood(t *testing.T) {
	q := &queue{limit: 1000}
	seat := q.add(&process{}, 1)
	mustTake(t, q, laneECDSA)
	flood := fill(t, q, from(t, "192.0.2.1"), 300)
	neighbour := fill(t, q, from(t, "192.0.2.2"), 1)
	q.give(seat, laneECDSA)
	q.give(seat, laneECDSA)
	if err := <-neighbour; err != nil {
		t.Fatal(err)
	}
	if n := len(flood); n > 1 {
		t.Errorf("%d signatures before it", n)
	}
	q.close(ErrDown)
}

// Of those who have hung up none costs the token a signature, nor their neighbours a turn.
func TestQueue_WhoHasHungUpIsDropped(t *testing.T) {
	q := &queue{limit: 1000}
	seat := q.add(&process{}, 1)
	mustTake(t, q, laneECDSA)
	leaving := connFrom("192.0.2.1")
	gone := fill(t, q, forClient(t.Context(), leaving), 100)
	stays := fill(t, q, from(t, "192.0.2.1"), 1)
	leaving.gone.Store(true)
	q.give(seat, laneECDSA)
	if err := <-stays; err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := <-gone; !errors.Is(err, ErrLeft) {
			t.Fatalf("got %v, want ErrLeft", err)
		}
	}
	waiting(t, q, laneECDSA, 0)
}

// Where signatures of both kinds wait, each kind gets its part of the sessions' time.
func TestQueue_LanesShareByWeight(t *testing.T) {
	for name, test := range map[string]struct {
		pace [lanes]time.Duration
		want [lanes]int
	}{
		"of the same pace":         {[lanes]time.Duration{50 * time.Millisecond, 50 * time.Millisecond}, [lanes]int{300, 100}},
		"RSA takes ten times more": {[lanes]time.Duration{time.Millisecond, 10 * time.Millisecond}, [lanes]int{388, 12}},
	} {
		t.Run(name, func(t *testing.T) {
			q := &queue{limit: 1000, pace: new(pace)}
			seat := q.add(&process{}, 1)
			mustTake(t, q, laneECDSA)
			var ends [lanes][]<-chan error
			for l := range lanes {
				q.pace.note(l, test.pace[l], true)
				for n := range 500 {
					ends[l] = append(ends[l], taking(t.Context(), q, l))
					waiting(t, q, l, n+1)
				}
			}
			under := laneECDSA
			var served [lanes]int
			for range 400 {
				before, _, _ := q.loads()
				before[under]--
				q.give(seat, under)
				after, _, _ := q.loads()
				for l := range lanes {
					if after[l] > before[l] {
						under = l
					}
				}
				served[under]++
			}
			for l := range lanes {
				if diff := served[l] - test.want[l]; diff < -5 || diff > 5 {
					t.Errorf("%d of %s, want %d", served[l], l, test.want[l])
				}
			}
			q.close(ErrDown)
			for l := range lanes {
				for _, end := range ends[l] {
					<-end
				}
			}
		})
	}
}

// A token that gives no session any more is given up after the patience; one that does is
// waited for as long as there is time.
func TestQueue_WaitsWhileSessionsComeFree(t *testing.T) {
	const patience = 5 * time.Second
	synctest.Test(t, func(t *testing.T) {
		q := &queue{limit: 10, patience: patience}
		seat := q.add(&process{}, 1)
		mustTake(t, q, laneECDSA)
		ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
		defer cancel()
		began := time.Now()
		last := []<-chan error{}
		for n := range 3 {
			last = append(last, taking(ctx, q, laneECDSA))
			waiting(t, q, laneECDSA, n+1)
		}
		time.Sleep(4 * time.Second)
		q.give(seat, laneECDSA)
		if err := <-last[0]; err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		q.give(seat, laneECDSA)
		if err := <-last[1]; err != nil {
			t.Fatal(err)
		}
		if err := <-last[2]; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		if waited := time.Since(began); waited < 8*time.Second+patience-time.Second || waited > 8*time.Second+patience+time.Second {
			t.Errorf("gave up after %s", waited)
		}
	})
}
