package hsm

import (
	"context"
	"errors"
	"sync"
	"time"

	"sallyport/hsm/wire"
)

const (
	// A token that gave a wrong signature is left alone for a pause that doubles from
	// the least to the most with each further one,
	distrustLeast = 5 * time.Second
	distrustMost  = 5 * time.Minute
	// until it has given none for so long.
	distrustFor = time.Hour

	// amends are the right signatures that it then has to give in a row.
	amends = 64
	// stranger is after how many wrong signatures of a key in a row, and no right one, its
	// private half is taken for another one than before.
	stranger = 8
)

// distrust is what is held against a token that gave a wrong signature. The zero
// value is nothing.
type distrust struct {
	mu     sync.Mutex
	proved map[wire.ObjectID]bool // keys that have given right signatures
	sample *wire.SignRequest      // what was answered wrong the last time; nil: nothing
	last   time.Time              // when
	pause  time.Duration          // from then on
}

// trust notes that a key gave a right signature, as its proof.
func (d *distrust) trust(o wire.ObjectID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proved == nil {
		d.proved = make(map[wire.ObjectID]bool)
	}
	d.proved[o] = true
}

// knows reports whether a key has ever given a right signature. Of one that never
// did, the public half on the token is another one's, which says nothing against
// the token.
func (d *distrust) knows(o wire.ObjectID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.proved[o]
}

// disown notes that a key is no longer the one that gave right signatures, and reports
// whether it was until now.
func (d *distrust) disown(o wire.ObjectID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.proved[o]
	delete(d.proved, o)
	return was
}

// note notes a wrong signature, and returns how long the token is to be left alone.
// Several of one moment, by signatures under way at once, count as one.
func (d *distrust) note(r wire.SignRequest, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.last) < d.pause {
		return
	}
	if now.Sub(d.last) > distrustFor {
		d.pause = 0
	}
	d.pause = min(max(2*d.pause, distrustLeast), distrustMost)
	d.last, d.sample = now, &r
}

// left is how long the token is still to be left alone.
func (d *distrust) left(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last.Add(d.pause).Sub(now)
}

// doubted returns what the token has to sign to be trusted again; nil: it is trusted.
func (d *distrust) doubted(now time.Time) *wire.SignRequest {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.last) > distrustFor {
		return nil
	}
	return d.sample
}

// wrong reports whether err is of a signature that was wrong.
func wrong(err error) (*wire.Failure, bool) {
	var f *wire.Failure
	return f, errors.As(err, &f) && f.Class == wire.Wrong
}

// noteWrong acts on a wrong signature by a process. A key that was right before shows
// that the device is not well: the whole token is down. One that never was is unfit.
func (t *Token) noteWrong(r wire.SignRequest, f *wire.Failure) error {
	if !t.distrust.knows(r.Object) {
		return problem(ErrUnfit, "the token's public key object does not belong to the private key", "%s", f.Cause)
	}
	t.leaveAlone(r, f)
	return outward(f)
}

// leaveAlone begins the pause for which a token that gave a wrong signature is not used.
func (t *Token) leaveAlone(r wire.SignRequest, f *wire.Failure) {
	t.metrics.wrong.Inc()
	t.log.Error("the token gave a wrong signature and is not used", "reason", f.Cause, "key", t.labelOf(r.Object), "scheme", r.Scheme.String(), "hash", r.Hash.String())
	t.distrust.note(r, time.Now())
	for _, p := range t.queue.processes() {
		p.condemn(f)
	}
}

// labelOf is the label of a private key, for the log.
func (t *Token) labelOf(o wire.ObjectID) string {
	for _, k := range t.Inventory().Keys {
		if k.Object() == o {
			return k.Label
		}
	}
	return ""
}

// makeAmends has a new process of a token that gave a wrong signature make many right
// ones in a row, which the process verifies. Each has the sign timeout, as any other.
//
// Where none is right, it is the key that is another one, and not the device that fails:
// its private half was replaced and its public one, or its certificate, was not. It is unfit
// then, and the token's other keys are served.
func (t *Token) makeAmends(ctx context.Context, p *process, r wire.SignRequest) error {
	payload, err := r.Append(nil)
	if err != nil {
		return err
	}
	var last *wire.Failure // of the wrong signatures
	right, bad, lost := 0, 0, 0
	for right < amends {
		_, err := p.call(ctx, wire.Sign, payload, nil)
		f, isWrong := wrong(err)
		switch {
		case err == nil:
			right++
		case isWrong:
			bad++
			last = f
		case !mayPass(err):
			return err
		default:
			if lost++; lost > amends {
				return err // failing is the rule
			}
		}
		switch {
		case bad > 0 && right > 0:
			t.leaveAlone(r, last)
			return last
		case bad == stranger:
			if last := t.trial.Load(); last != nil && last.Object == r.Object {
				t.trial.CompareAndSwap(last, nil) // so that its next right signature is taken note of
			}
			if t.distrust.disown(r.Object) {
				t.log.Error("a key no longer makes signatures that verify with its public key, and is not used", "key", t.labelOf(r.Object))
			}
			return nil
		}
	}
	return nil
}
