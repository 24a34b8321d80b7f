package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sallyport/hsm/wire"
)

// Config says how to reach a token.
type Config struct {
	Name        string            // what logs and metrics call it
	Settings    wire.Settings     // which module, token and sessions
	Environment map[string]string // for the vendor's library; reaches the signer process alone
	Dir         string            // working directory of the signer process
	SignTimeout time.Duration     // bound for one signature, and for the wait for it; 0: 5 s
	OpenTimeout time.Duration     // bound for loading the module and logging in; 0: 30 s
}

func (c Config) withDefaults() Config {
	if c.SignTimeout <= 0 {
		c.SignTimeout = 5 * time.Second
	}
	if c.OpenTimeout <= 0 {
		c.OpenTimeout = 30 * time.Second
	}
	c.Settings.Sessions = max(1, c.Settings.Sessions)
	return c
}

const (
	backoffLeast = 500 * time.Millisecond
	backoffMost  = 30 * time.Second
	settled      = 10 * time.Second // up for so long, a token is well again
)

// errStopped is the reason for Down after Run has ended.
var errStopped = errors.New("it was stopped")

// Token is a PKCS#11 token, served by a signer process while Run runs.
type Token struct {
	config  Config
	log     *slog.Logger
	metrics *tokenMetrics
	turns   chan struct{} // as many as there may be signatures under way

	mu        sync.Mutex
	state     State
	reason    error          // why it is down or locked
	process   *process       // in state Up
	inventory wire.Inventory // as of the last time it was up
	changed   chan struct{}  // closed at the next change of state
}

// NewToken returns a token that Run brings up.
func NewToken(c Config, log *slog.Logger, m *Metrics) *Token {
	c = c.withDefaults()
	t := &Token{
		config: c, log: log.With("token", c.Name),
		turns:   make(chan struct{}, c.Settings.Sessions),
		changed: make(chan struct{}),
	}
	t.metrics = m.token(t)
	return t
}

// Name is what the configuration calls the token.
func (t *Token) Name() string { return t.config.Name }

// State returns the state, and the reason for it when it is Down or Locked.
func (t *Token) State() (State, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state, t.reason
}

// Inventory returns what the token held when it was last opened.
func (t *Token) Inventory() wire.Inventory {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inventory
}

// Ready waits until the token is up for the first time, and returns why the
// first try failed if it did.
func (t *Token) Ready(ctx context.Context) error {
	for {
		state, changed, reason := t.now()
		if state != Starting {
			return reason
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *Token) now() (state State, changed <-chan struct{}, reason error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state, t.changed, t.reason
}

// Run starts the signer process, replaces it when it ends or no longer
// answers, and returns nil when ctx ends and the process is gone.
func (t *Token) Run(ctx context.Context) error {
	var pause time.Duration
	for {
		up, err := t.serve(ctx)
		switch {
		case ctx.Err() != nil:
			t.set(Down, errStopped, nil)
			return nil
		case class(err) == wire.PIN:
			t.set(Locked, outward(err), nil)
			<-ctx.Done()
			return nil
		case up > settled:
			pause = 0
		}
		if up > 0 && pause == 0 {
			pause = backoffLeast // for the next time; this time at once
			continue
		}
		pause = min(max(2*pause, backoffLeast), backoffMost)
		t.set(Down, outward(err), nil)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
			t.set(Starting, nil, nil)
		case <-ctx.Done():
			return nil
		}
	}
}

// serve runs one process. It returns how long the token was up, 0 if never,
// and why the process ended. A token that was up is left in state Starting.
func (t *Token) serve(ctx context.Context) (up time.Duration, err error) {
	t.metrics.starts.Inc()
	p, err := startProcess(t.config, t.log)
	if err != nil {
		return 0, err
	}
	defer p.stop()

	opening, cancel := context.WithTimeout(ctx, t.config.OpenTimeout)
	defer cancel()
	var inv wire.Inventory
	if err := p.ask(opening, wire.Open, t.config.Settings, &inv); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return 0, problem(ErrTimeout, "is the device reachable?", "the token did not open within %s", t.config.OpenTimeout)
		}
		return 0, err
	}
	t.mu.Lock()
	t.inventory = inv
	t.mu.Unlock()
	t.set(Up, nil, p)
	began := time.Now()
	select {
	case <-p.ended:
		t.set(Starting, p.cause, nil)
		return time.Since(began), p.cause
	case <-ctx.Done():
		return time.Since(began), ctx.Err()
	}
}

// set changes the state. A change that the table of transitions lacks is
// logged and made all the same: the token must not be stuck in a wrong state.
func (t *Token) set(to State, reason error, p *process) {
	t.mu.Lock()
	from := t.state
	t.state, t.process = to, p
	t.reason = nil
	if to == Down || to == Locked {
		t.reason = reason
	}
	close(t.changed)
	t.changed = make(chan struct{})
	t.mu.Unlock()

	level := slog.LevelInfo
	if to == Locked || to == Down && reason != errStopped {
		level = slog.LevelError
	}
	attrs := []any{"from", from.String(), "to", to.String()}
	if reason != nil {
		attrs = append(attrs, "reason", reason)
	}
	if !slices.Contains(transitions[from], to) {
		level = slog.LevelError
		attrs = append(attrs, "mistake", "no such transition")
	}
	t.log.Log(context.Background(), level, "token state changed", attrs...)
}

// live returns the process of a token that is up. It waits while one is being
// started, and not for longer than ctx.
func (t *Token) live(ctx context.Context) (*process, error) {
	for {
		t.mu.Lock()
		state, reason, p, changed := t.state, t.reason, t.process, t.changed
		t.mu.Unlock()
		switch state {
		case Up:
			return p, nil
		case Down, Locked:
			return nil, &Error{Err: ErrDown, Text: fmt.Sprintf("token %q is %s: %v", t.Name(), state, reason)}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("token %q is starting: %w", t.Name(), ErrTimeout)
		}
	}
}

// sign makes a signature, on a second process if the first one ends under it.
func (t *Token) sign(ctx context.Context, r wire.SignRequest) ([]byte, error) {
	payload, err := r.Append(nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.config.SignTimeout)
	defer cancel()
	began := time.Now()
	var signature []byte
	for range 2 {
		if signature, err = t.try(ctx, payload); err == nil || !errors.Is(err, errGone) {
			break
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("token %q: %w", t.Name(), ErrTimeout)
	}
	t.metrics.signed(r.Scheme, time.Since(began), err)
	return signature, outward(err)
}

// try asks the live process once. An answer that condemns the process ends it
// and counts as its end.
func (t *Token) try(ctx context.Context, payload []byte) ([]byte, error) {
	select {
	case t.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	free := func() { <-t.turns }
	p, err := t.live(ctx)
	if err != nil {
		free()
		return nil, err
	}
	signature, err := p.call(ctx, wire.Sign, payload, free)
	var f *wire.Failure
	if errors.As(err, &f) && f.Class != wire.Request {
		p.end(f)
		t.leave(ctx, p)
		return nil, fmt.Errorf("%w: %v", errGone, f)
	}
	if errors.Is(err, errGone) {
		t.leave(ctx, p)
	}
	return signature, err
}

// leave waits until a process that ended is out of use, so that whoever saw its
// end is not sent to it again.
func (t *Token) leave(ctx context.Context, p *process) {
	t.mu.Lock()
	current, changed := t.process == p, t.changed
	t.mu.Unlock()
	if !current {
		return
	}
	select {
	case <-changed:
	case <-ctx.Done():
	}
}
