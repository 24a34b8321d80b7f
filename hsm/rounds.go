package hsm

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"time"
)

// patience is how long a round waits for the tokens that it reads. One that takes
// longer, since it hangs perhaps, is named in the outcome, and what it holds goes
// live when it has been read.
const patience = 10 * time.Second

// proofPatience is how long the test signatures with one key may hold up what
// other tokens have.
const proofPatience = 5 * time.Second

// readings are the readings of tokens that are under way: at most one of each, and
// no token waits for another one's.
type readings struct {
	tokens   []*Token
	patience time.Duration
	running  sync.WaitGroup

	mu    sync.Mutex
	since map[*Token]time.Time // of those that are being read
}

func newReadings(tokens []*Token) readings {
	return readings{tokens: tokens, patience: patience, since: make(map[*Token]time.Time)}
}

// begin notes that a token is read from now on, and reports whether it was not yet.
func (r *readings) begin(t *Token) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, busy := r.since[t]; busy {
		return false
	}
	r.since[t] = time.Now()
	return true
}

func (r *readings) end(t *Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.since, t)
}

// late is why a token that is still being read is not in a round's outcome.
func (r *readings) late(t *Token) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return problem(ErrTimeout, "what it holds is served when it has been read",
		"the token does not answer: it has been read for %s, and still is", time.Since(r.since[t]).Round(100*time.Millisecond))
}

// readingOutcome is how the reading of a token ended.
type readingOutcome struct {
	token *Token
	err   error
}

// round reads the tokens, brings the sites in step as each has been read, and tells
// those who wait. Who asks when it has begun waits for the next one. Each object is
// read where somebody has asked, so where whole is set; otherwise it may be taken for
// what it was (Token.rescan).
func (r *Keyring) round(ctx context.Context, whole bool) {
	r.asking.Lock()
	waiting := r.waiting
	r.waiting = nil
	r.asking.Unlock()
	panics := true
	defer func() {
		if !panics {
			return
		}
		for _, done := range waiting {
			close(done)
		}
	}()
	outcome := Round{Unread: make(map[string]error)}
	done := make(chan readingOutcome, len(r.tokens))
	var missing []*Token
	for _, t := range r.tokens {
		if !r.readings.begin(t) {
			outcome.Unread[t.Name()] = r.readings.late(t)
			continue
		}
		missing = append(missing, t)
		r.readings.running.Go(func() {
			err := r.readToken(ctx, t, whole)
			r.readings.end(t)
			done <- readingOutcome{t, err}
		})
	}
	late := time.NewTimer(r.readings.patience)
	defer late.Stop()
wait:
	for len(missing) > 0 {
		select {
		case o := <-done:
			missing = slices.DeleteFunc(missing, func(t *Token) bool { return t == o.token })
			if o.err != nil {
				outcome.Unread[o.token.Name()] = o.err
			}
		case <-r.kick: // by a token that was just read
			outcome.Changes = append(outcome.Changes, r.refresh(ctx, time.Now())...)
		case <-late.C:
			for _, t := range missing {
				outcome.Unread[t.Name()] = r.readings.late(t)
				r.log.Warn("token does not answer while it is read anew", "token", t.Name())
			}
			break wait
		case <-ctx.Done():
			panics = false
			return // Run is about to end, which they are told otherwise
		}
	}
	select {
	case <-r.kick: // by what was just read, which is looked at here
	default:
	}
	outcome.Changes = append(outcome.Changes, r.refresh(ctx, time.Now())...)
	panics = false
	if ctx.Err() != nil {
		return
	}
	for _, done := range waiting {
		done <- outcome
	}
}

// readToken reads one token. One that is down is read when it comes back.
func (r *Keyring) readToken(ctx context.Context, t *Token, whole bool) (err error) {
	if guarded(r.log, "keyring", func() { err = t.rescan(ctx, whole) }) {
		err = errPanicked
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrDown) {
		r.log.Warn("token could not be read anew", "token", t.Name(), "error", err)
	}
	return err
}

// probe is probe, bounded. The caller holds mu.
func (r *Keyring) probe(ctx context.Context, k *Key, at holder) (able []tls.SignatureScheme, err error) {
	err = r.bounded(ctx, at.token, k.uri, func(ctx context.Context) error {
		able, err = probe(ctx, k, at)
		return err
	})
	return able, err
}

// bounded has a token make test signatures with a key, with a bound while sites are
// brought in step: a token that hangs holds them up once, not by each of its keys. The
// caller holds mu.
func (r *Keyring) bounded(ctx context.Context, t *Token, uri string, sign func(context.Context) error) error {
	if r.hung == nil {
		return sign(ctx)
	}
	if r.hung[t] {
		return problem(ErrTimeout, "", "key %q is not proved: token %q did not answer in time", uri, t.Name())
	}
	bound, cancel := context.WithTimeout(ctx, proofPatience)
	defer cancel()
	err := sign(bound)
	if err != nil && bound.Err() != nil && ctx.Err() == nil {
		r.hung[t] = true
	}
	return err
}
