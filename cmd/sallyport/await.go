package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sallyport/hsm"
)

// awaitEvery is how often the log says that a token is still waited for.
const awaitEvery = 10 * time.Second

// awaitTokens waits until all tokens are up, and notes a problem for each one
// that is not. Those that are not there yet may come within patience, unless
// something else is wrong already: then waiting would only put off the report.
func (s *service) awaitTokens(ctx context.Context, patience time.Duration) {
	if len(s.problems) > 0 {
		patience = 0
	}
	waiting, hopeless := context.WithTimeout(ctx, patience)
	defer hopeless()
	errs := make([]error, len(s.tokens))
	var awaiting sync.WaitGroup
	for i, t := range s.tokens {
		awaiting.Go(func() {
			// Until it has been tried once, however long that takes.
			errs[i] = t.Ready(ctx)
			if patience > 0 && hsm.Absent(errs[i]) {
				errs[i] = s.await(waiting, t)
			}
			if errs[i] != nil {
				hopeless()
			}
		})
	}
	awaiting.Wait()
	for i, err := range errs {
		if err != nil && ctx.Err() == nil {
			s.tokenProblem(i, err)
		}
	}
	s.refuseTwins()
}

// await waits for a token as long as that makes sense, and says so.
func (s *service) await(ctx context.Context, t *hsm.Token) error {
	ticking, stop := context.WithCancel(ctx)
	var telling sync.WaitGroup
	defer telling.Wait()
	defer stop()
	telling.Go(func() {
		tick := time.NewTicker(awaitEvery)
		defer tick.Stop()
		for ticking.Err() == nil {
			until, _ := ctx.Deadline()
			_, reason := t.State()
			s.log.Warn("token is not there yet, it is waited for", "token", t.Name(),
				"for", time.Until(until).Round(time.Second), "reason", reason)
			// systemd has a start timeout of its own (sd_notify(3)).
			notify(s.log, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=waiting for token %s", (2*awaitEvery).Microseconds(), t.Name()))
			select {
			case <-tick.C:
			case <-ticking.Done():
			}
		}
	})
	return t.Await(ctx)
}
