package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// requests come at a fixed rate on kept connections, however long the answers
// take: what waits for the answer before it is late by that wait, and counts so.
type requests struct {
	workers
	clients int
	every   time.Duration // on each connection

	times sync.Mutex
	taken []time.Duration
}

func (r *requests) start(ctx context.Context, i *instance) error {
	begin := time.Now()
	r.run(ctx, r.clients, func(ctx context.Context, number int) error {
		offset := r.every * time.Duration(number) / time.Duration(r.clients)
		c, err := newClient(ctx, i)
		if err != nil {
			return err
		}
		defer c.close()
		return r.keepPace(ctx, c, begin.Add(offset))
	})
	return nil
}

func (r *requests) keepPace(ctx context.Context, c *client, due time.Time) error {
	for ; ctx.Err() == nil; due = due.Add(r.every) {
		from := due
		if early := time.Until(due); early > 0 {
			if sleep(ctx, early) != nil {
				return nil
			}
			from = time.Now() // the timer's lateness is not the server's
		}
		if err := c.get(); err != nil {
			return err
		}
		taken := time.Since(from)
		r.times.Lock()
		r.taken = append(r.taken, taken)
		r.times.Unlock()
		r.units.Add(1)
	}
	return nil
}

// forget drops what was measured so far.
func (r *requests) forget() {
	r.times.Lock()
	defer r.times.Unlock()
	r.taken = nil
}

// percentiles returns those of what was measured, in milliseconds.
func (r *requests) percentiles(ps ...int) ([]float64, error) {
	r.times.Lock()
	defer r.times.Unlock()
	if len(r.taken) == 0 {
		return nil, errors.New("no request was answered")
	}
	slices.Sort(r.taken)
	var values []float64
	for _, p := range ps {
		values = append(values, float64(r.taken[(len(r.taken)-1)*p/100])/float64(time.Millisecond))
	}
	return values, nil
}
