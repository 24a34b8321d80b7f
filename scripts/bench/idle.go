package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	idleConnections = 3000
	settleEvery     = time.Second
	settleLimit     = 10 * time.Second
)

// idleMemory measures what a connection costs that has made a request and
// waits for its next. The server is one that has served little before, since
// memory that it holds from then would hide what the connections take.
func idleMemory(ctx context.Context, _ *bench, i *instance) (values, error) {
	if _, err := hold(ctx, i, 64, true); err != nil {
		return nil, err
	}
	before, err := settledMemory(ctx, i)
	if err != nil {
		return nil, err
	}
	held, err := hold(ctx, i, idleConnections, false)
	defer release(held)
	if err != nil {
		return nil, err
	}
	after, err := settledMemory(ctx, i)
	if err != nil {
		return nil, err
	}
	for _, c := range held {
		if err := c.get(); err != nil {
			return nil, errors.Join(errors.New("a connection did not stay open"), err)
		}
	}
	return values{"memory": float64(after-before) / idleConnections / 1024}, nil
}

// hold opens n connections and makes a request on each. They stay open, or are
// closed right after it.
func hold(ctx context.Context, i *instance, n int, passing bool) ([]*client, error) {
	const atOnce = 16
	var w workers
	var mu sync.Mutex
	var held []*client
	w.run(ctx, atOnce, func(ctx context.Context, number int) error {
		for ; number < n && ctx.Err() == nil; number += atOnce {
			c, err := newClient(ctx, i)
			if err != nil {
				return err
			}
			err = c.get()
			if err != nil || passing {
				c.close()
			} else {
				mu.Lock()
				held = append(held, c)
				mu.Unlock()
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	w.wait.Wait()
	return held, errors.Join(w.stop(), ctx.Err())
}

func release(clients []*client) {
	for _, c := range clients {
		c.close()
	}
}

// settledMemory waits until what the server holds changes by less than a
// hundredth in a second, or long enough.
func settledMemory(ctx context.Context, i *instance) (int64, error) {
	last, err := memory(i.pid())
	for begin := time.Now(); err == nil && time.Since(begin) < settleLimit; {
		if err := sleep(ctx, settleEvery); err != nil {
			return 0, err
		}
		var now int64
		now, err = memory(i.pid())
		change := now - last
		last = now
		if max(change, -change) < now/100 {
			break
		}
	}
	return last, err
}
