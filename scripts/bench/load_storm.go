package main

import (
	"context"
	"time"
)

// storm is clients that come at a fixed rate and shake hands in full, as after
// an outage of their network. No more than a bound are at it at once: a server
// that does not keep up meets fewer.
type storm struct {
	workers
	rate  int // in a second
	bound int
}

func (s *storm) start(ctx context.Context, i *instance) error {
	config := i.clientTLS("ec")
	due := make(chan struct{})
	// The one more is the clock.
	s.run(ctx, s.bound+1, func(ctx context.Context, number int) error {
		if number == s.bound {
			return s.strike(ctx, due)
		}
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-due:
			}
			if err := connectOnce(ctx, i.address, config, false); err != nil {
				return err
			}
			s.units.Add(1)
		}
	})
	return nil
}

// strike has a client begin whenever one is due, if one is free.
func (s *storm) strike(ctx context.Context, due chan<- struct{}) error {
	tick := time.NewTicker(time.Second / time.Duration(s.rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		select {
		case due <- struct{}{}:
		default:
		}
	}
}
