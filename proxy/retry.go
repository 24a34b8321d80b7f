package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// RoundTrip sends r to a backend that the balancer picks. A try of which
// nothing was sent, most often because no connection could be made, is followed
// by a try at the next backend, each at most once. Nothing else is retried here;
// http.Transport by itself repeats an idempotent request without a body when a
// connection kept alive turns out to be closed before any answer (RFC 9110
// §9.2.2).
func (f *forwarder) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeFrom(r.Context())
	var tried []string
	var all []error
	for {
		address, release, ok := f.Balancer.Pick(tried)
		if !ok {
			return nil, exhausted(all)
		}
		x.tries++
		x.backend = address
		x.try = newTry(f, x, address, release)
		res, err := x.try.roundTrip(r)
		if err == nil {
			return res, nil
		}
		f.log.Debug("try failed", "pool", f.Name, "backend", address, "error", err)
		if !errors.Is(err, errUnsent) {
			return nil, err
		}
		if slices.Contains(tried, address) {
			return nil, fmt.Errorf("%w: the balancer picked %s twice", errUnreachable, address)
		}
		tried = append(tried, address)
		all = append(all, err)
	}
}

// exhausted is the error of a request that no backend took: a timeout when it
// was time alone that was lacking everywhere.
func exhausted(all []error) error {
	slow := len(all) > 0 && !slices.ContainsFunc(all, func(err error) bool { return !errors.Is(err, errConnectSlow) })
	if slow {
		return errConnectSlow
	}
	return fmt.Errorf("%w: %w", errUnreachable, errors.Join(all...))
}
