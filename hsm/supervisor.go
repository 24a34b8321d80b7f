package hsm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sallyport/hsm/wire"
)

const (
	// The pause between two tries to reach a token that is down doubles from
	// the least to the most, which is how soon its return is noticed.
	backoffLeast = 500 * time.Millisecond
	backoffMost  = 5 * time.Second

	// So many processes in a row are replaced at once, and one more after each
	// restartEvery; others after a pause. One that opens has logged in well, so
	// this is about load, not about the PIN. One that has made signatures, and most
	// that it was asked for, is replaced at once however many went before: a pause
	// would cost more signatures than the token fails.
	restarts     = 5
	restartEvery = 2 * time.Second

	// replaceWaitLeast is how long signatures wait for a replacement at the
	// least, if the sign timeout allows it.
	replaceWaitLeast = 2 * time.Second
)

// replaceWait is how long signatures wait for a replacement: twice what the last
// process took to open, and never longer than a signature may wait. One that
// takes longer is most often a token that is not there.
func (t *Token) replaceWait() time.Duration {
	return min(max(2*time.Duration(t.openTook.Load()), replaceWaitLeast), t.config.SignTimeout)
}

// supervisor keeps one of a token's signer processes running.
type supervisor struct {
	token    *Token
	index    int
	started  bool    // has started a process before
	budget   float64 // processes that may be replaced at once
	filled   time.Time
	retiring sync.WaitGroup // processes that were replaced and finish what they have
}

// run starts the process, replaces it when it ends or is condemned, and returns
// when ctx has ended and nothing of it is left.
func (s *supervisor) run(ctx context.Context) {
	defer s.retiring.Wait()
	var pause time.Duration
	for ctx.Err() == nil {
		if !s.token.mayOpen(ctx, s.index) {
			continue // it was locked; it no longer is, or ctx has ended
		}
		up, fair, err := s.serve(ctx, pause == 0)
		if ctx.Err() != nil {
			break
		}
		if class(err) == wire.PIN {
			s.token.lock(s.index, outward(err))
			pause = 0 // what comes after Unlock is a new beginning
			continue
		}
		if _, bad := wrong(err); bad || s.token.distrust.left(time.Now()) > 0 {
			s.token.report(s.index, phaseDown, outward(err))
			s.waitOutDistrust(ctx)
			pause = backoffLeast // nobody waits for what has to make amends first
			continue
		}
		if up && (fair || s.spend(time.Now())) {
			pause = 0
			continue
		}
		pause = min(max(2*pause, backoffLeast), backoffMost)
		s.token.report(s.index, phaseDown, outward(err))
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
		}
	}
	s.token.report(s.index, phaseDown, errStopped)
}

// waitOutDistrust waits until the token need no longer be left alone, which another
// process may have put off meanwhile.
func (s *supervisor) waitOutDistrust(ctx context.Context) {
	for left := backoffLeast; left > 0 && ctx.Err() == nil; left = s.token.distrust.left(time.Now()) {
		select {
		case <-time.After(left):
		case <-ctx.Done():
		}
	}
}

// spend says whether a process that was up may be replaced at once.
func (s *supervisor) spend(now time.Time) bool {
	s.budget = min(restarts, s.budget+float64(now.Sub(s.filled))/float64(restartEvery))
	s.filled = now
	if s.budget < 1 {
		return false
	}
	s.budget--
	return true
}

// serve runs one process until it ends or is condemned. It returns whether it
// was ever up, whether it has made most signatures, and why it is no longer up. A
// condemned process goes on with what it has while its successor is already being
// started.
func (s *supervisor) serve(ctx context.Context, hopeful bool) (up, fair bool, err error) {
	t := s.token
	if hopeful {
		// Signatures wait for this one, but not for long.
		t.report(s.index, phaseStarting, nil)
		late := time.AfterFunc(t.replaceWait(), func() { t.reportLate(s.index) })
		defer late.Stop()
	}
	p, inv, err := s.openProcess(ctx)
	if err != nil {
		return false, false, err
	}
	t.setInventory(inv)
	seat := t.queue.add(p, max(1, inv.Token.Sessions))
	t.report(s.index, phaseUp, nil)
	select {
	case <-p.ended:
		err = p.cause
	case <-p.condemned:
		err = p.blame
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.queue.remove(seat)
	if _, bad := wrong(err); ctx.Err() == nil && !bad && t.distrust.left(time.Now()) <= 0 {
		t.report(s.index, phaseStarting, err)
	}
	s.retiring.Go(func() { t.retire(ctx, p) })
	return true, p.record.fair(), err
}

// retire lets a process finish what is under way, for as long as one signature
// may take, and then ends it.
func (t *Token) retire(ctx context.Context, p *process) {
	defer p.stop()
	grace := time.NewTimer(t.config.SignTimeout)
	defer grace.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for p.busy() {
		select {
		case <-p.ended:
			return
		case <-grace.C:
			return
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// openProcess starts a process and opens the token in it. One process of a
// token is opened at a time: that spares the device a storm of logins, and a
// PIN that is refused is seen before the next one would try it.
func (s *supervisor) openProcess(ctx context.Context) (*process, wire.Inventory, error) {
	t := s.token
	var inv wire.Inventory
	select {
	case t.opening <- struct{}{}:
		defer func() { <-t.opening }()
	case <-ctx.Done():
		return nil, inv, ctx.Err()
	}
	if err := t.lockedBy(); err != nil {
		return nil, inv, err
	}
	t.noteStart(s.started)
	s.started = true
	p, err := startProcess(t.config, t.log)
	if err != nil {
		return nil, inv, err
	}
	began := time.Now()
	opening, cancel := context.WithTimeout(ctx, t.config.OpenTimeout)
	defer cancel()
	settings := t.config.Settings
	settings.Examining = t.config.Keys == nil
	for _, u := range t.config.Keys {
		settings.Keys = append(settings.Keys, u.filter())
	}
	settings.Again = t.loginUnsure()
	sample := t.distrust.doubted(time.Now())
	settings.Doubt = sample != nil
	err = p.ask(opening, wire.Open, settings, &inv)
	if err == nil {
		t.noteLogin()
		// Each of these signatures has a bound of its own: a device that is slow at them
		// may take longer for all of them than it may for opening.
		if sample != nil {
			err = t.makeAmends(ctx, p, *sample)
		}
		if err != nil && !refused(err) {
			p.stop()
			return nil, inv, fmt.Errorf("test signature: %w", err)
		}
		if err = t.tryOut(ctx, p, inv); err != nil {
			p.stop()
			return nil, inv, err
		}
		if t.distrust.left(time.Now()) > 0 { // for another process, since this one was started
			p.stop()
			return nil, inv, &wire.Failure{Class: wire.Wrong, Cause: "the token gave a wrong signature meanwhile"}
		}
		t.openTook.Store(int64(time.Since(began)))
		return p, inv, nil
	}
	p.stop()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = problem(ErrTimeout, "the vendor's library waits for its device: look at the device, the line to it, and the vendor's log; it is tried again by itself", "the token did not open within %s", t.config.OpenTimeout)
	case errors.Is(err, errGone):
		e := problem(ErrDown, "the vendor's library may have crashed; try it with the vendor's own tool", "%v", err)
		e.Setting = "module"
		err = e
	}
	return nil, inv, t.noteFailure(p.loginStep(), err)
}

// tryOut has a new process sign once, with the key that signed last. A token
// that lets itself be opened and then fails, or hangs, at each signature is down:
// handshakes are to find that out at once, not each by its own signature. What
// the process refuses says nothing against it.
func (t *Token) tryOut(ctx context.Context, p *process, inv wire.Inventory) error {
	last := t.trial.Load()
	if last == nil || !slices.ContainsFunc(inv.Keys, func(k wire.Key) bool { return k.Object() == last.Object }) {
		return nil
	}
	r := *last
	r.Digest = testDigest(r.Hash)
	payload, err := r.Append(nil)
	if err != nil {
		return err
	}
	_, err = p.call(ctx, wire.Sign, payload, nil)
	for tries := 1; mayPass(err) && tries < mostInRow; tries++ {
		_, err = p.call(ctx, wire.Sign, payload, nil)
	}
	f, bad := wrong(err)
	switch {
	case err == nil, refused(err):
		return nil
	case bad:
		t.leaveAlone(r, f)
	case errors.Is(err, errStuck):
		err = ErrTimeout
	}
	return fmt.Errorf("test signature: %w", err)
}
