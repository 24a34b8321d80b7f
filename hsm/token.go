package hsm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/hsm/wire"
)

// Config says how to reach a token.
type Config struct {
	Name        string            // what logs and metrics call it
	Settings    wire.Settings     // which module, token and sessions
	Keys        []URI             // that may sign, and no other, whatever is asked of the signer process; nil: all, and the token may be examined
	PIN         *os.File          // sealed memory file with the PIN, where Settings.PIN is env:NAME; it is not read here
	Environment map[string]string // for the vendor's library; reaches the signer process alone
	Dir         string            // working directory of the signer process
	SignTimeout time.Duration     // bound for one signature, and for the wait for the next session to come free; 0: 5 s
	OpenTimeout time.Duration     // bound for loading the module and logging in; 0: 30 s, or 5 min with wire.NoPIN
	Processes   int               // signer processes, each with Settings.Sessions sessions; 0: 1
	Queue       int               // signatures of a kind that may wait; 0: 10000
}

func (c Config) withDefaults() Config {
	if c.SignTimeout <= 0 {
		c.SignTimeout = 5 * time.Second
	}
	if c.OpenTimeout <= 0 {
		c.OpenTimeout = 30 * time.Second
		if c.Settings.PIN == wire.NoPIN {
			c.OpenTimeout = 5 * time.Minute // somebody has to go to the device
		}
	}
	if c.Queue <= 0 {
		c.Queue = 10_000
	}
	c.Settings.Sessions = max(1, c.Settings.Sessions)
	c.Processes = max(1, c.Processes)
	return c
}

// errStopped is the reason for Down after Run has ended.
var errStopped = errors.New("it was stopped")

// errLate is in the reason for Down while a process is still opening the token.
var errLate = errors.New("its signer process is late")

// phase is what one of a token's signer processes is at.
type phase uint8

const (
	phaseWaiting  phase = iota // not started yet
	phaseStarting              // signatures wait for it
	phaseLate                  // still starting, and no longer waited for
	phaseUp
	phaseDown   // the last try failed; another one follows
	phaseLocked // waits for Unlock
)

// Token is a PKCS#11 token, served by signer processes while Run runs.
type Token struct {
	config   Config
	log      *slog.Logger
	metrics  *tokenMetrics
	queue    *queue
	refusals refusals
	opening  chan struct{} // held by the one process that is being opened
	pace     pace
	hiccups  hiccups
	distrust distrust
	openTook atomic.Int64                     // how long the last process took to open, in nanoseconds
	trial    atomic.Pointer[wire.SignRequest] // the last one that was made: what a new process shows itself by

	mu        sync.Mutex
	phases    []phase
	state     State
	since     time.Time      // when it came into that state
	reason    error          // why it is not up, as far as it is known
	locked    error          // why no login is tried; nil: one may be
	unsure    bool           // the last login did not come to a good end
	lost      int            // logins in a row that began and had no answer
	opened    bool           // it has been up
	restarts  int            // processes that took the place of another one
	trouble   Trouble        // the last error
	inventory wire.Inventory // as of the last time it was read
	// certificates are those of the inventory that can be parsed, by their key, and all of them.
	certificates certificates
	read         time.Time     // when that was
	onRead       []func()      // called after it was read
	changed      chan struct{} // closed at the next change of state, reason, phase or inventory
}

// NewToken returns a token that Run brings up.
func NewToken(c Config, log *slog.Logger, m *Metrics) *Token {
	c = c.withDefaults()
	t := &Token{
		config: c, log: log.With("token", c.Name),
		opening: make(chan struct{}, 1),
		phases:  make([]phase, c.Processes),
		since:   time.Now(),
		changed: make(chan struct{}),
	}
	t.queue = &queue{limit: c.Queue, patience: c.SignTimeout, pace: &t.pace}
	t.refusals.log = t.log
	t.metrics = m.token(t)
	return t
}

// Name is what the configuration calls the token.
func (t *Token) Name() string { return t.config.Name }

// State returns the state, and the reason for it when it is Degraded, Down or Locked.
func (t *Token) State() (State, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state, t.reason
}

// live says whether signatures are made, or will be in a moment.
func (t *Token) live() bool {
	state, _ := t.State()
	return state.Live()
}

// cost is what one more signature is expected to cost here, in seconds.
func (t *Token) cost(l lane) float64 {
	return t.pace.cost(l, t.queue.load(), time.Now())
}

// whyDown is an ErrDown with the reason.
func (t *Token) whyDown() error {
	state, reason := t.State()
	if reason == nil {
		return problem(ErrDown, "", "token %q is %s", t.Name(), state)
	}
	return problem(ErrDown, hintIn(reason), "token %q is %s: %v", t.Name(), state, reason)
}

// Inventory returns what the token held when it was last read.
func (t *Token) Inventory() wire.Inventory {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inventory
}

// setInventory takes over what a process has read.
func (t *Token) setInventory(inv wire.Inventory) {
	t.mu.Lock()
	t.read = time.Now()
	if inv.Unchanged {
		t.mu.Unlock()
		return
	}
	if inv.Version != t.inventory.Version {
		t.certificates = parseCertificates(inv.Certificates)
	}
	t.inventory = inv
	t.announce()
	told := t.onRead
	t.mu.Unlock()
	for _, tell := range told {
		tell()
	}
}

// onInventory has f called, which must not block, after each reading of the token.
func (t *Token) onInventory(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.onRead = append(t.onRead, f)
}

// announce wakes who waits for a change. The caller holds mu.
func (t *Token) announce() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Ready waits until the token is up for the first time, and returns why the
// first try failed if it did.
func (t *Token) Ready(ctx context.Context) error {
	for {
		t.mu.Lock()
		state, changed, reason := t.state, t.changed, t.reason
		t.mu.Unlock()
		switch state {
		case Up, Degraded:
			return nil
		case Down, Locked:
			return reason
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Await is Ready for a token that may come late: while it is only Absent, it is
// waited for until ctx ends, which makes the last reason the error.
func (t *Token) Await(ctx context.Context) error {
	for {
		t.mu.Lock()
		state, changed, reason := t.state, t.changed, t.reason
		t.mu.Unlock()
		switch {
		case state == Up || state == Degraded:
			return nil
		case (state == Down || state == Locked) && !Absent(reason):
			return reason
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return cmp.Or(reason, ctx.Err())
		}
	}
}

// Run keeps the token's signer processes running, and returns when ctx has
// ended and they are gone.
func (t *Token) Run(ctx context.Context) {
	var supervisors sync.WaitGroup
	for i := range t.config.Processes {
		supervisors.Go(func() { (&supervisor{token: t, index: i}).run(ctx) })
	}
	supervisors.Wait()
}

// report notes what process i is at, and what the token's state becomes by it.
func (t *Token) report(i int, p phase, reason error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phases[i] = p
	t.opened = t.opened || p == phaseUp
	t.note(reason)
	t.settle(reason)
	t.announce()
}

// reportLate says that process i takes long to start: it is no longer waited
// for. Before the token has been up for the first time nothing waits for it but
// who started it.
func (t *Token) reportLate(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phases[i] == phaseStarting && t.opened {
		t.phases[i] = phaseLate
		late := problem(errLate, "", "its signer process has not opened it within %s", t.replaceWait())
		t.note(late)
		t.settle(late)
	}
}

// note keeps the last error for Status. The caller holds mu.
func (t *Token) note(err error) {
	if err != nil && !errors.Is(err, errStopped) {
		t.trouble = Trouble{Err: err, Time: time.Now()}
	}
}

// settle derives the state from the phases, and opens or closes the queue
// accordingly. The caller holds mu.
func (t *Token) settle(reason error) {
	count := make(map[phase]int)
	for _, p := range t.phases {
		count[p]++
	}
	to := Starting
	switch {
	case count[phaseUp] == len(t.phases):
		to = Up
	case count[phaseUp] > 0:
		to = Degraded
	case t.locked != nil:
		to, reason = Locked, t.locked
	case count[phaseStarting] == 0 && count[phaseDown]+count[phaseLate] > 0:
		to = Down
	}
	if to == t.state && to != Starting {
		if reason != nil {
			t.reason = reason
			t.announce()
		}
		return
	}
	from := t.state
	if from != to {
		t.since = time.Now()
	}
	t.state = to
	t.reason = nil
	if !from.Live() && to.Live() {
		t.pace.returned(time.Now())
	}
	switch to {
	case Degraded:
		t.reason = reason
	case Down, Locked:
		t.reason = reason
		t.queue.close(&Error{Err: ErrDown, Text: fmt.Sprintf("token %q is %s: %v", t.Name(), to, reason)})
	case Starting:
		t.queue.open()
	}
	t.announce()
	if from != to {
		t.logChange(from, to, reason)
	}
}

// logChange logs a change of state. One that the table of transitions lacks is
// made all the same: the token must not be stuck in a wrong state.
func (t *Token) logChange(from, to State, reason error) {
	level := slog.LevelInfo
	switch {
	case errors.Is(reason, errStopped):
	case to == Down || to == Locked:
		level = slog.LevelError
	case from == Up:
		level = slog.LevelWarn
	}
	attrs := []any{"from", from.String(), "to", to.String()}
	if reason != nil {
		attrs = append(attrs, "reason", reason)
	}
	if (to == Down || to == Locked) && !errors.Is(reason, errStopped) {
		attrs = append(attrs, "effect", "full handshakes that need this token fail; open connections, resumed sessions and other tokens go on")
		switch hint := hintIn(reason); {
		case to == Locked:
			attrs = append(attrs, "hint", lockedHint(hint, t.Name()))
		case hint != "":
			attrs = append(attrs, "hint", hint)
		}
	}
	if !slices.Contains(transitions[from], to) {
		level = slog.LevelError
		attrs = append(attrs, "mistake", "no such transition")
	}
	t.log.Log(context.Background(), level, "token state changed", attrs...)
}

// Rescan reads each of the token's objects anew, in every process that is up,
// since each has handles of its own, and for the open timeout at most in each. A
// process that cannot read them, or not in time, is replaced. A token without a
// process is an ErrDown: it is read when one is up.
func (t *Token) Rescan(ctx context.Context) error { return t.rescan(ctx, true) }

// rescan is Rescan; without whole, a token with many objects that still lists the
// same ones is mostly taken to hold the same.
func (t *Token) rescan(ctx context.Context, whole bool) error {
	processes := t.queue.processes()
	if len(processes) == 0 {
		return t.whyDown()
	}
	errs := make([]error, len(processes))
	var reading sync.WaitGroup
	for i, p := range processes {
		reading.Go(func() {
			if guarded(t.log, "reading of a token", func() { errs[i] = t.rescanBy(ctx, p, whole) }) {
				errs[i] = errPanicked
			}
		})
	}
	reading.Wait()
	return errors.Join(errs...)
}

// rescanBy is rescan by one process.
func (t *Token) rescanBy(ctx context.Context, p *process, whole bool) error {
	inv, err := t.list(ctx, p, whole)
	for tries := 1; mayPass(err) && tries < mostInRow && ctx.Err() == nil; tries++ {
		inv, err = t.list(ctx, p, whole)
	}
	if err != nil {
		if class(err) != wire.Request && !errors.Is(err, context.Canceled) {
			p.condemn(err)
		}
		return err
	}
	t.setInventory(inv)
	return nil
}

func (t *Token) list(ctx context.Context, p *process, whole bool) (inv wire.Inventory, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.config.OpenTimeout)
	defer cancel()
	err = p.ask(ctx, wire.List, wire.ListRequest{Known: t.Inventory().Version, Whole: whole}, &inv)
	return inv, err
}
