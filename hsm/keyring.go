package hsm

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport/hsm/wire"
)

// Keyring keeps what sites serve in step with what the tokens hold. Keys and
// certificates that are made with the vendor's own tools are found, proved and
// served without a restart.
type Keyring struct {
	tokens []*Token
	every  time.Duration
	log    *slog.Logger
	kick   chan struct{} // holds one: look at the tokens' inventories again
	rescan chan struct{} // holds one: have the tokens read anew first
	ended  chan struct{} // closed when Run has returned

	readings readings

	mu        sync.Mutex // held while looking
	sites     []*Certificates
	proofs    map[holder][]tls.SignatureScheme
	reminded  map[reminder]time.Time
	hung      map[*Token]bool   // that made no test signature in time; nil where that has no bound
	serials   map[*Token]string // of the tokens, when they were last looked at
	completed map[holder][]byte // the public keys of bare keys

	asking  sync.Mutex
	waiting []chan Round // for the next round's outcome; closed where that panics
	next    time.Time    // when that comes by itself
}

// NewKeyring returns a keyring over tokens, which are read anew every so often.
func NewKeyring(tokens []*Token, every time.Duration, log *slog.Logger) *Keyring {
	r := &Keyring{
		tokens: tokens, every: every, log: log,
		kick: make(chan struct{}, 1), rescan: make(chan struct{}, 1), ended: make(chan struct{}),
		proofs: make(map[holder][]tls.SignatureScheme), reminded: make(map[reminder]time.Time),
		serials: make(map[*Token]string), completed: make(map[holder][]byte),
		readings: newReadings(tokens),
	}
	for _, t := range tokens {
		t.onInventory(r.look)
	}
	return r
}

// EntryError is why something that an entry of a site names cannot be served.
type EntryError struct {
	Entry int    // its index
	Part  string // "key", "chain", or "" for both together
	Err   error
	Since time.Time // when it was found first
}

func (e *EntryError) Error() string { return e.Err.Error() }
func (e *EntryError) Unwrap() error { return e.Err }

// Add finds and proves what a site is to serve, now and from now on. An entry
// that has no pair is an error; all of them are returned.
func (r *Keyring) Add(ctx context.Context, site string, entries []Entry, now time.Time) (*Certificates, []*EntryError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &Certificates{site: site, entries: entries, doubt: r.Rescan, metrics: newSiteMetrics(site)}
	var serving []served
	var problems []*EntryError
	for i, e := range entries {
		s := r.serve(ctx, i, e, served{}, now)
		if len(s.pairs) == 0 {
			problems = append(problems, s.problems[0])
		}
		serving = append(serving, s)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	c.serve(serving)
	for _, s := range serving {
		r.warnOfGap(site, served{}, s)
	}
	r.sites = append(r.sites, c)
	return c, nil
}

// Rescan has the tokens read anew soon.
func (r *Keyring) Rescan() { nudge(r.rescan) }

// Round is what a reading of all tokens has come to.
type Round struct {
	Changes []Change
	Unread  map[string]error // the tokens that could not be read, by name
}

// RescanNow has the tokens read anew and waits for the outcome. Whoever asks
// meanwhile gets the same one; however many ask, there is one reading at a time
// and a pause before the next.
func (r *Keyring) RescanNow(ctx context.Context) (Round, error) {
	done := make(chan Round, 1)
	r.asking.Lock()
	r.waiting = append(r.waiting, done)
	r.asking.Unlock()
	r.Rescan()
	select {
	case round, ok := <-done:
		if !ok {
			return Round{}, errPanicked
		}
		return round, nil
	case <-ctx.Done():
		return Round{}, ctx.Err()
	case <-r.ended:
		return Round{}, errStopped
	}
}

// Next is when the tokens will be read anew at the latest; zero before Run.
func (r *Keyring) Next() time.Time {
	r.asking.Lock()
	defer r.asking.Unlock()
	return r.next
}

// look has the sites looked at again soon, with what the tokens hold.
func (r *Keyring) look() { nudge(r.kick) }

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it will happen anyway
	}
}

// rescanPause is the least time between two readings of the tokens, however
// often they are asked for.
const rescanPause = 500 * time.Millisecond

// Run keeps the sites in step until ctx ends. It may be called once.
func (r *Keyring) Run(ctx context.Context) error {
	defer close(r.ended)
	defer r.readings.running.Wait()
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	r.schedule(time.Now())
	r.mu.Lock()
	r.remind(time.Now())
	r.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			r.schedule(now)
			guarded(r.log, "keyring", func() { r.round(ctx, false) })
		case <-r.rescan:
			guarded(r.log, "keyring", func() { r.round(ctx, true) })
		case <-r.kick:
			guarded(r.log, "keyring", func() { r.refresh(ctx, time.Now()) })
		}
		select {
		case <-ctx.Done():
		case <-time.After(rescanPause):
		}
	}
}

func (r *Keyring) schedule(now time.Time) {
	r.asking.Lock()
	defer r.asking.Unlock()
	r.next = now.Add(r.every)
}

// refresh looks at every site again, swaps what it serves, and returns what has
// changed by that.
func (r *Keyring) refresh(ctx context.Context, now time.Time) []Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hung = make(map[*Token]bool)
	defer func() { r.hung = nil }()
	r.forget()
	var changes []Change
	for _, c := range r.sites {
		guarded(r.log, "keyring", func() { changes = append(changes, r.renew(ctx, c, now)...) })
		if ctx.Err() != nil {
			return nil
		}
	}
	for _, c := range changes {
		c.log(r.log)
	}
	r.remind(now)
	return changes
}

// renew looks at one site again, and swaps what it serves.
func (r *Keyring) renew(ctx context.Context, c *Certificates, now time.Time) []Change {
	before := *c.serving.Load()
	after := make([]served, len(c.entries))
	var here []Change
	for i, e := range c.entries {
		after[i] = r.serve(ctx, i, e, before[i], now)
		here = append(here, compare(c.site, before[i], after[i])...)
		r.warnOfGap(c.site, before[i], after[i])
	}
	if ctx.Err() != nil {
		return nil
	}
	c.serve(after)
	return here
}

// serve decides what entry i serves: of all keys that it names, those with a
// valid certificate and a proof, the newest certificate first. What was served
// before stays as a fallback while its key is there and its certificate valid,
// and stays in use while there is nothing else: to refuse handshakes because the
// last certificate has expired, or its key cannot be found, helps nobody.
func (r *Keyring) serve(ctx context.Context, i int, e Entry, before served, now time.Time) served {
	var s served
	reject := func(part string, errs ...error) {
		for _, err := range errs {
			s.problems = append(s.problems, before.problem(&EntryError{Entry: i, Part: part, Err: err, Since: now}))
		}
	}
	var file Chain
	var fileErr error
	if e.Chain != "" {
		file, fileErr = ReadChain(e.Chain)
	}
	keys, unfit, err := findKeys(r.tokens, e.Key, func(t *Token, info wire.Key) (wire.Key, error) {
		if e.Chain != "" {
			return r.complete(ctx, t, info, file[:min(1, len(file))])
		}
		return r.complete(ctx, t, info, t.heldCertificates().all)
	})
	reject("key", unfit...)
	if err != nil && len(unfit) == 0 {
		reject("key", err)
	}
	if fileErr != nil && len(keys) == 0 {
		reject("chain", fileErr)
	}
	for _, k := range keys {
		chain, err := file, fileErr
		if e.Chain == "" {
			chain, err = k.ChainFromToken(now)
		}
		if err != nil {
			reject("chain", err)
		} else if p, left, err := r.prove(ctx, k, chain, now); err != nil {
			reject("", err)
		} else {
			reject("key", left...)
			s.pairs = append(s.pairs, p)
			continue
		}
		// It has no new certificate; the one it had may still do.
		for _, old := range before.pairs {
			if old.Key.id == k.id && validity(old.Leaf(), now) == nil {
				if p, _, err := r.prove(ctx, k, old.Chain, now); err == nil {
					s.pairs = append(s.pairs, p)
				}
			}
		}
	}
	slices.SortStableFunc(s.pairs, func(a, b *Pair) int {
		return cmp.Or(b.Leaf().NotBefore.Compare(a.Leaf().NotBefore), b.Leaf().NotAfter.Compare(a.Leaf().NotAfter))
	})
	for _, p := range s.pairs {
		looked := false
		for _, old := range before.pairs {
			if old.Key.id == p.Key.id {
				p.doubted = old.doubted // a handshake under way has the old pair
				looked = looked || old.gap == nil && old.Chain.equal(p.Chain)
			}
		}
		if !looked {
			p.gap = r.gap(p.Chain, now)
		}
	}
	if len(s.pairs) == 0 {
		s.pairs, s.kept = before.pairs, len(before.pairs) > 0
		if s.kept && !slices.ContainsFunc(s.pairs, r.held) {
			s.lost = problem(ErrNoKey, "", "key %q is no longer on token %s: %v", s.pairs[0].Key.URI(), strings.Join(s.pairs[0].Key.Tokens(), ", "), s.problems[0])
		}
	}
	return s
}

// held reports whether a token still had the pair's key, fit to sign, when it was
// last read.
func (r *Keyring) held(p *Pair) bool {
	return slices.ContainsFunc(p.Key.holders, func(h holder) bool {
		return slices.ContainsFunc(h.token.Inventory().Keys, func(k wire.Key) bool {
			return k.Reason == "" && k.Object() == h.object && h.token.distrust.knows(h.object) && (!k.Bare || wire.KeyIDOf(r.completed[h]) == p.Key.id)
		})
	})
}

// problem is p, or the same one of the time before: it keeps since when it is.
func (s served) problem(p *EntryError) *EntryError {
	for _, o := range s.problems {
		if o.Part == p.Part && o.Error() == p.Error() {
			return o
		}
	}
	return p
}

// prove makes a pair of a key and a chain. Every token that holds the key must
// sign with it; those that do not are left out, and an error says so when none
// is left. A proof is made once for each key and token.
func (r *Keyring) prove(ctx context.Context, k *Key, c Chain, now time.Time) (p *Pair, left []error, err error) {
	if err := k.check(c, now); err != nil {
		return nil, nil, err
	}
	var able []tls.SignatureScheme
	var proved []holder
	for _, h := range k.holders {
		schemes := r.proofs[h]
		if schemes == nil {
			if !h.token.live() {
				left = append(left, fmt.Errorf("key %q is not proved: %w", k.uri, h.token.whyDown()))
				continue
			}
			if schemes, err = r.probe(ctx, k, h); err != nil {
				left = append(left, err)
				continue
			}
			r.proofs[h] = schemes
		}
		if proved = append(proved, h); len(proved) == 1 {
			able = slices.Clone(schemes)
		}
		able = slices.DeleteFunc(able, func(s tls.SignatureScheme) bool { return !slices.Contains(schemes, s) })
	}
	if len(proved) == 0 {
		return nil, nil, left[0]
	}
	if len(able) == 0 {
		return nil, nil, problem(ErrUnfit, "", "the tokens %v have no signature scheme in common for key %q", k.Tokens(), k.uri)
	}
	signer := *k
	signer.holders = proved
	return newPair(&signer, c, able), left, nil
}

// forget drops the proofs of keys that have left their token: one that comes
// back is proved anew, and so is one that was found to be another key than before. A
// token that was made anew has other keys, whatever they
// are called.
func (r *Keyring) forget() {
	held := make(map[holder]bool)
	for _, t := range r.tokens {
		inv := t.Inventory()
		if inv.Token == (wire.TokenInfo{}) {
			continue // not read yet
		}
		if was, known := r.serials[t]; known && was != inv.Token.Serial {
			r.log.Warn("another token is in the place of the one before", "token", t.Name(), "serial", inv.Token.Serial, "before", was)
			maps.DeleteFunc(r.proofs, func(h holder, _ []tls.SignatureScheme) bool { return h.token == t })
		}
		r.serials[t] = inv.Token.Serial
		for _, k := range inv.Keys {
			held[holder{t, k.Object()}] = true
		}
	}
	maps.DeleteFunc(r.proofs, func(h holder, _ []tls.SignatureScheme) bool { return !held[h] || !h.token.distrust.knows(h.object) })
	maps.DeleteFunc(r.completed, func(h holder, _ []byte) bool { return !held[h] })
}
