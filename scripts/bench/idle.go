package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	idleConnections = 3000
	// settleTime is how long a server may take to put its house in order, some
	// seconds after the last request: connections that are idle are so for longer.
	settleTime = 12 * time.Second
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

// settledMemory is what the server holds once it has had nothing to do for a while.
func settledMemory(ctx context.Context, i *instance) (int64, error) {
	if err := sleep(ctx, settleTime); err != nil {
		return 0, err
	}
	return memory(i.pid())
}
