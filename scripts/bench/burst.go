package main

import (
	"context"
	"time"
)

// bursts are the measures of clients that come in one moment.
var bursts = []measure{
	{Name: "time", Unit: "ms until the last is served", Charted: true},
	{Name: "half", Unit: "ms until half are served"},
	{Name: "refused", Unit: "refused"},
}

// burst has n clients that were never here before connect in one moment, from one
// address, and make a request each. Where one is refused there are no times: who
// serves fewer is not faster.
func burst(n int) func(context.Context, *bench, *instance) (values, error) {
	return func(ctx context.Context, _ *bench, i *instance) (values, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var w workers
		served := make(chan time.Duration, n)
		begin := make(chan struct{})
		var began time.Time
		w.run(ctx, n, func(ctx context.Context, _ int) error {
			<-begin
			c, err := newClient(ctx, i)
			if err != nil {
				return err
			}
			defer c.close()
			if err := c.get(); err != nil {
				return err
			}
			served <- time.Since(began)
			return nil
		})
		began = time.Now()
		close(begin)
		w.wait.Wait()
		close(served)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var taken []time.Duration
		for d := range served {
			taken = append(taken, d)
		}
		v := values{"refused": float64(n - len(taken))}
		if len(taken) == n {
			v["half"] = inMilliseconds(middle(taken)) // which sorts them
			v["time"] = inMilliseconds(taken[n-1])
		}
		return v, nil
	}
}
