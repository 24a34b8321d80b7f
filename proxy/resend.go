package proxy

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A request may be sent again to another backend after one has got it and failed: it closed
// the connection before a response, sent what is none, or none in time. That takes
// all of this:
//
//   - sending it twice does no more than once, and its body is whole (exchange.repeatable);
//   - the client has got nothing of a response, be it an interim one;
//   - it was sent again less than maxResends times;
//   - the first try began no longer ago than a response may take, so that a client waits for
//     two response timeouts at most;
//   - the pool's budget has something left: where all backends fail, sending everything
//     again would only add to what they cannot do.
const maxResends = 2

// errResend marks the error of a try that may be followed by one at another backend.
var errResend = errors.New("it may be sent again")

// mayResend reports whether x may be sent again, and takes it from the budget.
func (f *forwarder) mayResend(x *exchange) bool {
	within := f.ResponseTimeout + f.ConnectTimeout + lookEvery
	if x.resends >= maxResends || time.Since(epoch)-x.firstAsked > within || !f.resends.take(time.Since(epoch)) {
		return false
	}
	x.resends++
	return true
}

// isResendable reports whether a try that failed before a response may be followed by another.
func (x *exchange) isResendable() bool { return x.repeatable() && !x.hinted && x.status == 0 }

// resendBudget bounds how many requests of a pool are sent again: one in five of those
// that come, and beside that one a second. What is not used is kept, up to a bound.
type resendBudget struct {
	requests atomic.Int64 // that have come since the last look

	mu   sync.Mutex
	left float64
	last time.Duration // when it was looked at, since epoch
}

const (
	resendShare = 0.2
	resendRate  = 1.0 // a second
	resendKept  = 20.0
)

func newResendBudget() *resendBudget {
	return &resendBudget{left: resendKept, last: time.Since(epoch)}
}

// earn counts a request.
func (b *resendBudget) earn() { b.requests.Add(1) }

// take takes one request's share, if there is as much.
func (b *resendBudget) take(now time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	earned := resendShare*float64(b.requests.Swap(0)) + resendRate*max(now-b.last, 0).Seconds()
	b.left, b.last = min(b.left+earned, resendKept), max(b.last, now)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// exhausted is the error of a request that no backend took. One that was sent has the last
// backend's; otherwise it is a timeout when it was time alone that was lacking everywhere.
func exhausted(all []error) error {
	for _, err := range all {
		if errors.Is(err, errShortage) {
			return err
		}
	}
	for _, err := range slices.Backward(all) {
		if errors.Is(err, errResend) {
			return err
		}
	}
	slow := len(all) > 0 && !slices.ContainsFunc(all, func(err error) bool { return !errors.Is(err, errConnectSlow) })
	if slow {
		return errConnectSlow
	}
	return fmt.Errorf("%w: %w", errUnreachable, errors.Join(all...))
}
