package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// dialler is what a pool probes with: it notes when, and fails until it is told not to.
type dialler struct {
	mu    sync.Mutex
	begun time.Time
	at    []time.Duration
	err   error
}

func (d *dialler) dial(context.Context, string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = append(d.at, time.Since(d.begun))
	return d.err
}

func (d *dialler) seconds() (list []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range d.at {
		list = append(list, int(at/time.Second))
	}
	return list
}

func (d *dialler) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = nil
}

// running is a pool whose probes are made while test goes on.
func running(t *testing.T, addresses []string, dial func(context.Context, string) error, test func(*Pool)) {
	p, err := New("web", addresses, Options{jitter: func(d time.Duration) time.Duration { return d }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, dial) }()
	test(p)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPool_BackendThatIsDownIsDialledBesideTheTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dialler{begun: time.Now(), err: errRefused}
		running(t, []string{"a:1", "b:1"}, d.dial, func(p *Pool) {
			b := &bench{Pool: p}
			b.fell(t, "a:1")
			for range 40 {
				time.Sleep(time.Second) // the pool's clock, which synctest moves
				if got := b.try(t, nil); got != "b:1" {
					t.Fatalf("a request was sent to %s", got)
				}
			}
			if got, want := d.seconds(), []int{1, 3, 7, 15, 25, 35}; !slices.Equal(got, want) {
				t.Errorf("dialled after %d s, want %d", got, want)
			}
			d.heal()
			time.Sleep(maxPause)
			synctest.Wait()
			if got := b.state("a:1"); got != "up" {
				t.Errorf("it is %s", got)
			}
			time.Sleep(time.Hour)
			if n := len(d.seconds()); n != 7 {
				t.Errorf("%d dials; none is needed when all are up", n)
			}
		})
	})
}

func TestPool_ProbesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var addresses []string
		for i := range 5 * maxProbes {
			addresses = append(addresses, fmt.Sprintf("a:%d", i+1))
		}
		var mu sync.Mutex
		var most, now, all int
		dial := func(ctx context.Context, _ string) error {
			mu.Lock()
			now++
			all++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return nil
		}
		running(t, addresses, dial, func(p *Pool) {
			b := &bench{Pool: p}
			for range addresses {
				b.try(t, errRefused)
			}
			time.Sleep(time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if most != maxProbes || all != len(addresses) {
				t.Errorf("%d dials, %d at once", all, most)
			}
		})
	})
}

func TestPool_ProbeThatLearntNothingIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dialler{begun: time.Now(), err: context.Canceled}
		running(t, []string{"a:1", "b:1"}, d.dial, func(p *Pool) {
			(&bench{Pool: p}).fell(t, "a:1")
			time.Sleep(5*time.Second + time.Millisecond)
			if got, want := d.seconds(), []int{1, 2, 3, 4, 5}; !slices.Equal(got, want) {
				t.Errorf("dialled after %d s, want %d", got, want)
			}
		})
	})
}

func TestPool_RunEndsWithItsDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := errors.New("the context is over")
		began := make(chan struct{})
		running(t, []string{"a:1"}, func(ctx context.Context, _ string) error {
			close(began)
			<-ctx.Done()
			return over
		}, func(p *Pool) {
			(&bench{Pool: p}).fell(t, "a:1")
			<-began
		})
	})
}
