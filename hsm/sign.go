package hsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport/hsm/wire"
)

// longestWait is how many sign timeouts a signature waits for a session while others get
// theirs. Where none comes free it waits for one.
const longestWait = 2

// sign makes one try at a signature. It waits for a session, for two sign timeouts at most, and
// then for the answer, for one, and never longer than ctx. What one
// process refuses is asked of another one at once: each has read the token at a
// time of its own, and only one of them may know a new key.
//
// A device that fails now and then is asked again, at any of the token's sessions.
//
// retry says that another try, at another process or token, may succeed.
func (t *Token) sign(ctx context.Context, r wire.SignRequest) (signature []byte, retry bool, err error) {
	began := time.Now()
	signature, by, retry, err := t.try(ctx, r, nil)
	for tries := 1; mayPass(err) && tries < mostInRow && ctx.Err() == nil && !by.leaving() && time.Since(began) < t.config.SignTimeout/4; tries++ {
		signature, by, retry, err = t.try(ctx, r, nil)
	}
	if refused(err) && t.queue.hasOther(by) {
		signature, _, retry, err = t.try(ctx, r, by)
	}
	return signature, retry, err
}

// refused says whether a signature failed for what was asked, not for the token.
func refused(err error) bool {
	var f *wire.Failure
	return errors.As(err, &f) && f.Class == wire.Request
}

// try is sign at one process, other than not, which may be nil.
func (t *Token) try(ctx context.Context, r wire.SignRequest, not *process) (signature []byte, by *process, retry bool, err error) {
	payload, err := r.Append(nil)
	if err != nil {
		return nil, nil, false, err
	}
	l := laneOf(r.Scheme)
	wait, cancel := context.WithTimeout(ctx, longestWait*t.config.SignTimeout)
	defer cancel()
	began := time.Now()
	s, err := t.queue.take(wait, l, not)
	t.metrics.waited(l, time.Since(began), err)
	if err != nil {
		t.refusals.note(reasonOf(err), askerOf(ctx).client)
		switch {
		case !errors.Is(err, context.DeadlineExceeded):
		case len(t.queue.processes()) == 0:
			err = fmt.Errorf("%w: %w", t.whyDown(), ErrTimeout)
		default:
			err = fmt.Errorf("token %q has no session free: %w: %w", t.Name(), ErrBusy, ErrTimeout)
		}
		return nil, nil, ctx.Err() == nil && !errors.Is(err, ErrLeft), err
	}
	alone := t.queue.load() == 1
	sent := time.Now()
	signature, err = s.process.call(ctx, wire.Sign, payload, func() { t.queue.give(s, l) })
	t.metrics.signed(r.Scheme, time.Since(sent), err)
	var f *wire.Failure
	switch {
	case err == nil:
		s.process.record.made()
		t.pace.note(l, time.Since(sent), alone)
		if last := t.trial.Swap(&r); last == nil || last.Object != r.Object {
			t.distrust.trust(r.Object)
		}
		return signature, s.process, false, nil
	case errors.As(err, &f) && f.Class == wire.Wrong:
		return nil, s.process, true, t.noteWrong(r, f)
	case mayPass(err) && !s.process.record.failed():
		t.noteHiccup(err)
		return nil, s.process, true, outward(err)
	case errors.As(err, &f) && f.Class != wire.Request:
		// Its sessions, or the whole device, are not well: a new process is.
		t.queue.remove(s)
		s.process.condemn(f)
		return nil, s.process, true, outward(err)
	case errors.Is(err, errGone):
		t.queue.remove(s)
		return nil, s.process, true, fmt.Errorf("token %q: %w", t.Name(), err)
	case errors.Is(err, errStuck):
		t.queue.remove(s)
		return nil, s.process, true, fmt.Errorf("token %q: %w", t.Name(), ErrTimeout)
	case errors.As(err, &f):
		// The key may have left this token and still be on another one.
		return nil, s.process, true, outward(err)
	}
	return nil, s.process, false, err
}
