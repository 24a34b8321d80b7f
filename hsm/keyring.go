package hsm

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
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

	mu     sync.Mutex // held while looking
	sites  []*Certificates
	proofs map[holder][]tls.SignatureScheme
}

// NewKeyring returns a keyring over tokens, which are read anew every so often.
func NewKeyring(tokens []*Token, every time.Duration, log *slog.Logger) *Keyring {
	r := &Keyring{
		tokens: tokens, every: every, log: log,
		kick: make(chan struct{}, 1), rescan: make(chan struct{}, 1),
		proofs: make(map[holder][]tls.SignatureScheme),
	}
	for _, t := range tokens {
		t.onInventory(r.look)
	}
	return r
}

// EntryError is why an entry of a site cannot be served.
type EntryError struct {
	Entry int    // its index
	Part  string // "key", "chain", or "" for both together
	Err   error
}

func (e *EntryError) Error() string { return e.Err.Error() }
func (e *EntryError) Unwrap() error { return e.Err }

// Add finds and proves what a site is to serve, now and from now on. An entry
// that has no pair is an error; all of them are returned.
func (r *Keyring) Add(ctx context.Context, site string, entries []Entry, now time.Time) (*Certificates, []*EntryError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &Certificates{site: site, entries: entries, doubt: r.Rescan}
	var serving []served
	var problems []*EntryError
	for i, e := range entries {
		s := r.serve(ctx, e, served{}, now)
		if len(s.pairs) == 0 {
			problem := &EntryError{Entry: i, Err: s.reject[0]}
			if partly := new(EntryError); errors.As(s.reject[0], &partly) {
				problem.Part, problem.Err = partly.Part, partly.Err
			}
			problems = append(problems, problem)
		}
		serving = append(serving, s)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	c.serving.Store(&serving)
	r.sites = append(r.sites, c)
	return c, nil
}

// Rescan has the tokens read anew soon.
func (r *Keyring) Rescan() { nudge(r.rescan) }

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

// Run keeps the sites in step until ctx ends.
func (r *Keyring) Run(ctx context.Context) error {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.readTokens(ctx)
		case <-r.rescan:
			r.readTokens(ctx)
		case <-r.kick:
		}
		r.refresh(ctx, time.Now())
		select {
		case <-ctx.Done():
		case <-time.After(rescanPause):
		}
	}
}

// readTokens reads all tokens side by side. One that is down is read when it
// comes back.
func (r *Keyring) readTokens(ctx context.Context) {
	var reading sync.WaitGroup
	for _, t := range r.tokens {
		reading.Go(func() {
			if err := t.Rescan(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("token could not be read anew", "token", t.Name(), "error", err)
			}
		})
	}
	reading.Wait()
}

// refresh looks at every site again and swaps what it serves.
func (r *Keyring) refresh(ctx context.Context, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.sites {
		before := *c.serving.Load()
		after := make([]served, len(c.entries))
		for i, e := range c.entries {
			after[i] = r.serve(ctx, e, before[i], now)
			r.report(c.site, before[i], after[i])
		}
		if ctx.Err() == nil {
			c.serving.Store(&after)
		}
	}
	r.forget()
}

// serve decides what an entry serves: of all keys that it names, those with a
// valid certificate and a proof, the newest certificate first. What was served
// before stays as a fallback while its key is there and its certificate valid,
// and stays in use while there is nothing else.
func (r *Keyring) serve(ctx context.Context, e Entry, before served, now time.Time) served {
	var s served
	keys, unfit, err := FindKeys(r.tokens, e.Key)
	for _, u := range unfit {
		s.reject = append(s.reject, &EntryError{Part: "key", Err: u})
	}
	if err != nil && len(unfit) == 0 {
		s.reject = append(s.reject, &EntryError{Part: "key", Err: err})
	}
	var file Chain
	var fileErr error
	if e.Chain != "" {
		file, fileErr = ReadChain(e.Chain)
	}
	for _, k := range keys {
		chain, err := file, fileErr
		if e.Chain == "" {
			chain, err = k.ChainFromToken(now)
		}
		if err != nil {
			s.reject = append(s.reject, &EntryError{Part: "chain", Err: err})
		} else if p, err := r.prove(ctx, k, chain, now); err != nil {
			s.reject = append(s.reject, &EntryError{Err: err})
		} else {
			s.pairs = append(s.pairs, p)
			continue
		}
		// It has no new certificate; the one it had may still do.
		for _, old := range before.pairs {
			if old.Key.id == k.id && validity(old.Leaf(), now) == nil {
				if p, err := r.prove(ctx, k, old.Chain, now); err == nil {
					s.pairs = append(s.pairs, p)
				}
			}
		}
	}
	slices.SortStableFunc(s.pairs, func(a, b *Pair) int {
		return cmp.Or(b.Leaf().NotBefore.Compare(a.Leaf().NotBefore), b.Leaf().NotAfter.Compare(a.Leaf().NotAfter))
	})
	for _, p := range s.pairs {
		for _, old := range before.pairs {
			if old.Key.id == p.Key.id {
				p.doubted.Store(old.doubted.Load())
			}
		}
	}
	if len(s.pairs) == 0 {
		s.pairs = before.pairs
	}
	return s
}

// prove makes a pair of a key and a chain. Every token that holds the key must
// sign with it; those that do not are left out, and an error says so when none
// is left. A proof is made once for each key and token.
func (r *Keyring) prove(ctx context.Context, k *Key, c Chain, now time.Time) (*Pair, error) {
	if err := k.check(c, now); err != nil {
		return nil, err
	}
	var able []tls.SignatureScheme
	var proved []holder
	var errs []error
	for _, h := range k.holders {
		schemes := r.proofs[h]
		if schemes == nil {
			if !h.token.live() {
				errs = append(errs, fmt.Errorf("key %q is not proved: %w", k.uri, h.token.whyDown()))
				continue
			}
			var err error
			if schemes, err = probe(ctx, k, h); err != nil {
				errs = append(errs, err)
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
		return nil, errs[0]
	}
	if len(able) == 0 {
		return nil, problem(ErrUnfit, "", "the tokens %v have no signature scheme in common for key %q", k.Tokens(), k.uri)
	}
	signer := *k
	signer.holders = proved
	return newPair(&signer, c, able), nil
}

// forget drops the proofs of keys that have left their token: one that comes
// back is proved anew.
func (r *Keyring) forget() {
	held := make(map[holder]bool)
	for _, t := range r.tokens {
		for _, k := range t.Inventory().Keys {
			held[holder{t, k.Object()}] = true
		}
	}
	maps.DeleteFunc(r.proofs, func(h holder, _ []tls.SignatureScheme) bool { return !held[h] })
}

// report logs what has changed, and what is newly not served.
func (r *Keyring) report(site string, before, after served) {
	place := func(pairs []*Pair, p *Pair) int {
		return slices.IndexFunc(pairs, func(o *Pair) bool { return o.Leaf().Equal(p.Leaf()) })
	}
	for i, p := range after.pairs {
		was := place(before.pairs, p)
		switch {
		case i == 0 && was != 0:
			r.log.Info("certificate goes live", describePair(site, p)...)
		case i > 0 && was <= 0:
			r.log.Info("certificate is a fallback", describePair(site, p)...)
		}
	}
	for _, p := range before.pairs {
		if place(after.pairs, p) < 0 {
			r.log.Info("certificate is no longer served", describePair(site, p)...)
		}
	}
	for _, err := range after.reject {
		if !slices.ContainsFunc(before.reject, func(o error) bool { return o.Error() == err.Error() }) {
			r.log.Warn("not served", "site", site, "reason", err)
		}
	}
}

func describePair(site string, p *Pair) []any {
	return []any{
		"site", site, "key", p.Key.URI(), "tokens", p.Key.Tokens(), "subject", p.Leaf().Subject.String(),
		"serial", fmt.Sprintf("%x", p.Leaf().SerialNumber), "until", p.Leaf().NotAfter.UTC().Format(time.RFC3339),
	}
}
