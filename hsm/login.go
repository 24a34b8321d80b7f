package hsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport/hsm/wire"
)

// lock ends all tries to log in: the token refused the PIN, or may be counting
// lost logins. Processes that are logged in go on.
func (t *Token) lock(i int, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.locked == nil {
		t.locked = why
		t.log.Error("the PIN is not tried again", "reason", why)
	}
	t.phases[i] = phaseLocked
	t.note(why)
	t.settle(why)
	t.announce()
}

// lockedBy returns what locked the token, or nil.
func (t *Token) lockedBy() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.locked == nil {
		return nil
	}
	return &wire.Failure{Class: wire.PIN, Cause: t.locked.Error(), Setting: "pin", Hint: hintIn(t.locked)}
}

// Unlock allows one more login after the token was locked: the operator says
// that the PIN, or the token, has been mended. It says whether it was locked.
func (t *Token) Unlock() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.locked == nil {
		return false
	}
	t.locked, t.unsure, t.lost = nil, false, 0
	t.log.Info("the PIN may be tried again")
	for i, p := range t.phases {
		if p == phaseLocked {
			t.phases[i] = phaseStarting
		}
	}
	t.settle(nil)
	t.announce()
	return true
}

// Settled waits until no process of the token is being started, or ctx ends. It
// returns why the token is not up, if it is not.
func (t *Token) Settled(ctx context.Context) error {
	for {
		t.mu.Lock()
		state, changed, reason, locked := t.state, t.changed, t.reason, t.locked
		starting := slices.ContainsFunc(t.phases, func(p phase) bool { return p == phaseWaiting || p == phaseStarting || p == phaseLate })
		t.mu.Unlock()
		switch {
		case locked != nil:
			return locked
		case !starting && state == Up:
			return nil
		case !starting:
			return reason
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// noteStart counts a process; again says that it takes the place of another one.
func (t *Token) noteStart(again bool) {
	t.metrics.starts.Inc()
	t.mu.Lock()
	defer t.mu.Unlock()
	if again {
		t.restarts++
	}
}

// maxLostLogins is how many logins in a row may end without an answer, by a
// crash or a hang inside the library. Each may have cost a try, and tokens are
// known to lock themselves after three.
const maxLostLogins = 2

// noteLogin notes that the last login came to a good end.
func (t *Token) noteLogin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsure, t.lost = false, 0
}

// noteFailure notes how far the login had come of a process that did not open
// the token because of err. It returns err, or what locks the token where too
// many logins were lost. One that never began says nothing of the PIN.
func (t *Token) noteFailure(step wire.LoginStep, err error) error {
	if step == wire.LoginDone {
		t.noteLogin()
	}
	if step != wire.LoginBegins {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsure = true
	if errors.As(err, new(*wire.Failure)) {
		return err // the library has said what became of it
	}
	if t.lost++; t.lost < maxLostLogins {
		return err
	}
	return &wire.Failure{
		Class: wire.PIN, Setting: "pin",
		Cause: fmt.Sprintf("%d logins in a row had no answer, and the token may have counted them as wrong: %v", t.lost, err),
		Hint:  "log in once with the vendor's tool, which shows what is wrong and resets the token's count",
	}
}

// loginUnsure says whether the token may have counted our last login as wrong.
func (t *Token) loginUnsure() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unsure
}

// mayOpen waits while the token is locked. It returns false where something has
// changed and the caller should look again.
func (t *Token) mayOpen(ctx context.Context, i int) bool {
	t.mu.Lock()
	if t.locked == nil {
		t.mu.Unlock()
		return true
	}
	t.phases[i] = phaseLocked
	t.settle(t.locked)
	changed := t.changed
	t.mu.Unlock()
	select {
	case <-changed:
	case <-ctx.Done():
	}
	return false
}

// lockedHint is the hint of a token that is locked: no login is made before it is unlocked.
func lockedHint(hint, name string) string {
	const unlock = "`sallyport token unlock`"
	command := "`sallyport token unlock " + name + "`"
	switch {
	case hint == "":
		return "no login is made before " + command
	case strings.Contains(hint, unlock):
		return strings.ReplaceAll(hint, unlock, command)
	}
	return hint + "; no login is made before " + command
}
