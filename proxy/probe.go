package proxy

import "context"

// prober is a Balancer that has backends dialled beside the traffic, to see whether one
// that was away is back. Run lasts until ctx ends.
type prober interface {
	Run(ctx context.Context, dial func(ctx context.Context, address string) error) error
}

// probe runs the pool's probes, if its balancer makes any.
func (f *forwarder) probe(ctx context.Context) {
	r, ok := f.Balancer.(prober)
	if !ok {
		return
	}
	dial := func(ctx context.Context, address string) (err error) {
		defer f.server.caught(inBackend, func() { err = context.Canceled })
		ctx, cancel := context.WithTimeout(ctx, f.ConnectTimeout)
		defer cancel()
		if err = f.links.probe(ctx, address); isShortage(err) {
			return context.Canceled // it says nothing of the backend
		}
		return err
	}
	if err := r.Run(ctx, dial); err != nil {
		f.log.Error("backends are not probed any more", "pool", f.Name, "error", err)
	}
}
