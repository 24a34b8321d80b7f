package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// load is what is thrown at a server. It is used once: start, any number of
// times done, stop.
type load interface {
	// start returns when the load is under way. The context ends it at once.
	start(ctx context.Context, i *instance) error
	// done is how many units of work the server has done so far.
	done(ctx context.Context) (int64, error)
	// stop ends the load and says whether all of it went well.
	stop() error
}

// pacing is how long the parts of a sample take.
type pacing struct {
	warmup, window time.Duration
}

// total is more than a load that cannot be stopped has to run for, the opening
// of its connections on a busy machine among it.
func (p pacing) total() time.Duration { return p.warmup + p.window + 3*time.Second }

// workers are goroutines that do the same over and over, the load of our own.
type workers struct {
	units  atomic.Int64
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu     sync.Mutex
	failed int
	first  error
}

// run starts n goroutines, numbered from 0, each of which prepares by itself and
// then works until the load is stopped. An error of either ends the goroutine.
func (w *workers) run(ctx context.Context, n int, worker func(ctx context.Context, number int) error) {
	ctx, w.cancel = context.WithCancel(ctx)
	for number := range n {
		w.wait.Go(func() {
			if err := worker(ctx, number); err != nil && ctx.Err() == nil {
				w.fail(err)
			}
		})
	}
}

func (w *workers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed++
	if w.first == nil {
		w.first = err
	}
}

func (w *workers) done(context.Context) (int64, error) { return w.units.Load(), nil }

func (w *workers) stop() error {
	w.cancel()
	w.wait.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of the load's clients failed, the first with: %w", w.failed, w.first)
}

// usage is what a server did and used in a window.
type usage struct {
	units   int64
	elapsed time.Duration
	cpu     time.Duration
}

// perUnit is the CPU time of a unit in microseconds.
func (u usage) perUnit() float64 { return float64(u.cpu.Nanoseconds()) / 1e3 / float64(u.units) }

// rate is units in a second.
func (u usage) rate() float64 { return float64(u.units) / u.elapsed.Seconds() }

// measureLoad puts a load on a server and says what that took.
func measureLoad(ctx context.Context, i *instance, l load, p pacing) (u usage, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := l.start(ctx, i); err != nil {
		return u, err
	}
	u, err = watch(ctx, i, l, p)
	if err != nil {
		cancel()
		_ = l.stop() // what it says comes of its being broken off
		return u, err
	}
	if err := l.stop(); err != nil {
		return u, err
	}
	if u.units == 0 {
		return u, errors.New("nothing was done")
	}
	return u, nil
}

// watch reads what is used at the window's two ends.
func watch(ctx context.Context, i *instance, l load, p pacing) (u usage, err error) {
	if err := sleep(ctx, p.warmup); err != nil {
		return u, err
	}
	begin := time.Now()
	before, err := readCPUTimes(i.pid())
	if err != nil {
		return u, err
	}
	done, err := l.done(ctx)
	if err != nil {
		return u, err
	}
	if err := sleep(ctx, p.window); err != nil {
		return u, err
	}
	u.elapsed = time.Since(begin)
	after, err := readCPUTimes(i.pid())
	if err != nil {
		return u, err
	}
	u.units, err = l.done(ctx)
	if err != nil {
		return u, err
	}
	u.units -= done
	u.cpu, err = after.since(before)
	return u, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
