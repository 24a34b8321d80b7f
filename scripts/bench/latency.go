package main

import (
	"context"
	"errors"
	"time"
)

// The requests whose latency is taken, few enough for every server.
const (
	latencyClients = 16
	latencyEvery   = 40 * time.Millisecond // on each connection: 400 a second in all
	stormRate      = 200
	stormBound     = 64
)

// latency measures how long small requests take, with or without a storm.
func latency(stormy bool) func(context.Context, *bench, *instance) (values, error) {
	return func(ctx context.Context, b *bench, i *instance) (values, error) {
		r := &requests{clients: latencyClients, every: latencyEvery}
		loads := []load{r}
		var s *storm
		if stormy {
			s = &storm{rate: stormRate, bound: stormBound}
			loads = append(loads, s)
		}
		var err error
		for n, l := range loads {
			if err = l.start(ctx, i); err != nil {
				loads = loads[:n]
				break
			}
		}
		v := values{}
		if err == nil {
			v, err = watchLatency(ctx, b.pacing, r, s)
		}
		for _, l := range loads {
			err = errors.Join(err, l.stop())
		}
		return v, err
	}
}

func watchLatency(ctx context.Context, p pacing, r *requests, s *storm) (values, error) {
	if err := sleep(ctx, p.warmup); err != nil {
		return nil, err
	}
	r.forget()
	var before int64
	if s != nil {
		before = s.units.Load()
	}
	if err := sleep(ctx, p.window); err != nil {
		return nil, err
	}
	percentiles, err := r.percentiles(50, 99)
	if err != nil {
		return nil, err
	}
	v := values{"p50": percentiles[0], "p99": percentiles[1]}
	if s != nil {
		v["rate"] = float64(s.units.Load()-before) / p.window.Seconds()
	}
	return v, nil
}
