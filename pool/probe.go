package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Run dials backends that are down, each when its pause is over, until ctx ends: no
// user's request finds out that one is still away. dial makes a connection as the
// pool's requests need it, within a time of its own; context.Canceled says that nothing was
// learnt. Run returns when every dial has. It may run once.
func (p *Pool) Run(ctx context.Context, dial func(ctx context.Context, address string) error) error {
	var dials sync.WaitGroup
	defer dials.Wait()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		due, next := p.due()
		for _, probe := range due {
			dials.Go(func() { p.probed(probe, dial(ctx, probe.address)) })
		}
		pause.Stop()
		if next >= 0 {
			pause.Reset(next)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-pause.C:
		}
	}
}

// maxProbes is how many backends of a pool are dialled at once.
const maxProbes = 16

// probe is a dial that is due.
type probe struct {
	*backend
	epoch uint64 // that it began in
}

// due begins the probes whose time has come, and says when the next one is due; -1 is
// when something changes.
func (p *Pool) due() (list []probe, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	next = -1
	for _, b := range p.backends {
		switch {
		case b.state != down || b.probing:
		case !b.dialDue(now):
			if left := b.until.Sub(now); next < 0 || left < next {
				next = left
			}
		case p.probes < maxProbes:
			p.probes++
			b.probing = true
			list = append(list, probe{b, b.epoch})
		}
	}
	return list, next
}

// probed notes what a probe has learnt.
func (p *Pool) probed(b probe, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probes--
	p.look()
	if b.backend.epoch != b.epoch {
		return // a request has learnt more meanwhile
	}
	b.probing = false
	switch {
	case errors.Is(err, context.Canceled):
		b.until = p.now().Add(firstPause)
	case err == nil:
		p.change(b.backend, up, nil)
	default:
		p.pass(b.backend, maxPause)
	}
}

// look has Run look for what is due.
func (p *Pool) look() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// mayEject reports whether b may be passed over for how it answers: at most half of the
// backends are, or the one in the middle more, and another one must be up. The caller holds mu.
func (p *Pool) mayEject(b *backend) bool {
	gone := 0
	for _, other := range p.backends {
		if other.state == ejected {
			gone++
		}
	}
	return gone < (len(p.backends)+1)/2 && slices.ContainsFunc(p.backends, func(other *backend) bool {
		return other != b && other.state == up
	})
}
