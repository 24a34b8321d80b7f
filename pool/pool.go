package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what a pool takes beside its name and addresses. The zero value
// is usable: nothing is logged and metrics are registered nowhere.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer // may be shared by several pools

	now    func() time.Time                  // a test's clock
	jitter func(time.Duration) time.Duration // a test's dice
}

// Pool is a list of backends that take turns. It is safe for concurrent use.
type Pool struct {
	name    string
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time
	jitter  func(time.Duration) time.Duration

	backends []*backend // the slice is fixed, what it points to is guarded

	_      [64]byte // what is above is read by all processors, and mu is written by all
	mu     sync.Mutex
	next   int // whose turn it is
	probes int // dials under way

	wake chan struct{} // Run has something to look at
}

// New returns a pool over addresses, each "host:port" and different from the
// others; at least one is needed.
func New(name string, addresses []string, o Options) (*Pool, error) {
	if name == "" {
		return nil, errors.New("pool: a pool needs a name")
	}
	if len(addresses) == 0 || len(addresses) > MaxBackends {
		return nil, fmt.Errorf("pool %s: %d backends; from 1 to %d can be", name, len(addresses), MaxBackends)
	}
	p := &Pool{name: name, log: o.Log, now: o.now, jitter: o.jitter, wake: make(chan struct{}, 1)}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.jitter == nil {
		p.jitter = spread
	}
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("pool %s: backend %q is not host:port", name, a)
		}
		if p.find(a) != nil {
			return nil, fmt.Errorf("pool %s: backend %s is listed twice", name, a)
		}
		b := &backend{address: a}
		b.isUp.Store(true)
		p.backends = append(p.backends, b)
	}
	var err error
	if p.metrics, err = newMetrics(o.Metrics); err != nil {
		return nil, fmt.Errorf("pool %s: %w", name, err)
	}
	for _, b := range p.backends {
		if err := p.metrics.start(o.Metrics, p.name, b); err != nil {
			return nil, fmt.Errorf("pool %s: %w", name, err)
		}
	}
	return p, nil
}

// spread is d give or take a fifth, so that several pools or nodes do not probe
// a backend in step.
func spread(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5)
}

// Ticket is what a try was begun with. It goes back, unchanged, when the try is over.
type Ticket uint64

// A ticket holds the backend's place in the list (16 bits), whether the try is a
// probe (1 bit), and the backend's epoch (the rest).
func newTicket(at int, probe bool, epoch uint64) Ticket {
	t := Ticket(at) | Ticket(epoch)<<17
	if probe {
		t |= 1 << 16
	}
	return t
}

func (t Ticket) place() int    { return int(t & 0xffff) }
func (t Ticket) probe() bool   { return t&(1<<16) != 0 }
func (t Ticket) epoch() uint64 { return uint64(t >> 17) }

// MaxBackends is how many backends a pool may have.
const MaxBackends = 1 << 16

// Pick chooses a backend for one try of a request, never one in tried: the next
// usable one in turn, or else the next of those that are passed over. repeatable says
// that the request can be sent again elsewhere. ok is
// false when every backend has been tried. Release must be called with the
// ticket, exactly once, when the try is over.
func (p *Pool) Pick(tried []string, repeatable bool) (address string, ticket uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, probe := p.choose(tried, repeatable)
	if at < 0 {
		return "", 0, false
	}
	p.next = at + 1
	b := p.backends[at]
	if probe {
		b.probing = true
	}
	b.inFlight.Add(1)
	return b.address, uint64(newTicket(at, probe, b.epoch)), true
}

// choose returns the place of the next backend in turn, or -1, and whether the try is
// a probe. Of those that are passed over one that can be reached is preferred. The
// caller holds mu.
func (p *Pool) choose(tried []string, repeatable bool) (at int, probe bool) {
	ejectedOne, downOne := -1, -1
	for i := range p.backends {
		at := (p.next + i) % len(p.backends)
		b := p.backends[at]
		switch {
		case slices.Contains(tried, b.address):
		case b.state == up:
			return at, false
		case b.state == ejected && b.trialDue(p.now(), repeatable):
			return at, true
		case b.state == ejected && ejectedOne < 0:
			ejectedOne = at
		case b.state == down && downOne < 0:
			downOne = at
		}
	}
	if ejectedOne >= 0 {
		return ejectedOne, false
	}
	return downOne, false
}

// Reached says that a connection to address has just been made. It brings a
// backend back that is down, without waiting for a response.
func (p *Pool) Reached(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.find(address); b != nil && b.state == down {
		p.change(b, up, nil)
	}
}

// Responded says that a response's head has come in the try that ticket was given for.
// What the try is, its Release says later, which may be hours away for a tunnel.
func (p *Pool) Responded(ticket uint64) {
	t := Ticket(ticket)
	b := p.backends[t.place()]
	if b.isUp.Load() && b.streak.Load() == 0 {
		return // nothing new
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.epoch == t.epoch() {
		p.responded(b)
	}
}

// responded brings b back, or forgives what it failed before. The caller holds mu.
func (p *Pool) responded(b *backend) {
	b.streak.Store(0)
	if b.state != up {
		p.change(b, up, nil)
	}
}

// Release ends the try that ticket was given for. nil says that the backend
// responded; context.Canceled that nothing was learnt of it; any other error that
// it failed, and a *net.OpError of a dial among them that it could not be reached.
func (p *Pool) Release(ticket uint64, err error) {
	t := Ticket(ticket)
	b := p.backends[t.place()]
	b.inFlight.Add(-1)
	if err == nil && !t.probe() && b.isUp.Load() && b.streak.Load() == 0 {
		return // nothing new
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	learnt := b.epoch == t.epoch()
	if t.probe() && learnt {
		b.probing = false
	}
	if err == nil {
		if learnt {
			p.responded(b)
		}
		return
	}
	if errors.Is(err, context.Canceled) {
		return
	}
	b.failures++
	p.metrics.failed(p.name, b)
	switch {
	case !learnt:
	case unreachable(err):
		p.fail(b, err)
	default:
		p.failRequest(b, err)
	}
}

// fail takes b down, or starts its next pause when the last one was over. A try
// that was forced within a pause, all others being down, does not lengthen it.
// The caller holds mu.
func (p *Pool) fail(b *backend, err error) {
	if b.state == down && p.now().Before(b.until) {
		return
	}
	p.pass(b, maxPause)
	if b.state != down {
		p.change(b, down, err)
	}
}

// failRequest notes that b was reached and failed a request, and ejects it where that has
// become the rule. The caller holds mu.
func (p *Pool) failRequest(b *backend, err error) {
	streak := b.streak.Add(1)
	switch b.state {
	case up:
		if streak >= maxStreak && p.mayEject(b) {
			p.pass(b, maxEjection)
			p.change(b, ejected, err)
		}
	case ejected:
		if !p.now().Before(b.until) {
			p.pass(b, maxEjection)
		}
	}
}

// pass begins the next pause of b. The caller holds mu.
func (p *Pool) pass(b *backend, most time.Duration) {
	b.pause = b.nextPause(most)
	b.until = p.now().Add(min(p.jitter(b.pause), most))
}

// change is the only place where a state changes. The caller holds mu.
func (p *Pool) change(b *backend, to state, cause error) {
	from := b.state
	if !from.mayBecome(to) {
		p.log.Error("backend state change refused", "pool", p.name, "backend", b.address, "from", from.String(), "to", to.String())
		return
	}
	b.state = to
	b.isUp.Store(to == up)
	b.epoch++
	b.streak.Store(0)
	b.probing = false
	p.look()
	attrs := []any{"pool", p.name, "backend", b.address, "from", from.String(), "to", to.String()}
	level := slog.LevelInfo
	if to == up {
		b.pause, b.until = 0, time.Time{}
	} else {
		level = slog.LevelWarn
		attrs = append(attrs, "error", cause)
	}
	p.metrics.state(p.name, b)
	p.log.Log(context.Background(), level, "backend state changed", attrs...)
	if to == down && !slices.ContainsFunc(p.backends, func(b *backend) bool { return b.state != down }) {
		p.log.Error("pool has no backend that can be reached", "pool", p.name, "effect", "its requests get 502; backends are tried again by themselves")
	}
}

// find returns the backend with this address or nil.
func (p *Pool) find(address string) *backend {
	for _, b := range p.backends {
		if b.address == address {
			return b
		}
	}
	return nil
}

// unreachable reports whether err says that no connection could be made.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
