package hsm

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Change is one thing that a site serves otherwise than before, or newly fails
// to serve.
type Change struct {
	Site    string
	What    What
	Pair    *Pair       // nil where What is NotServed
	Problem *EntryError // the reason, where What is NotServed or Kept
}

// What is the kind of a Change, in the words of the log.
type What string

// The kinds of a Change.
const (
	GoesLive What = "certificate goes live"
	Fallback What = "certificate is a fallback"
	Leaves   What = "certificate is no longer served"
	// NewChain: the certificate is the same, and others are sent behind it.
	NewChain  What = "certificate is sent with another chain"
	NotServed What = "not served"
	// Kept: the pair is no longer what should be served, and there is no other.
	Kept What = "certificate is served for want of a better one"
)

// compare lists what has changed for one entry of a site.
func compare(site string, before, after served) []Change {
	var changes []Change
	place := func(pairs []*Pair, p *Pair) int {
		return slices.IndexFunc(pairs, func(o *Pair) bool { return o.Leaf().Equal(p.Leaf()) })
	}
	for i, p := range after.pairs {
		was := place(before.pairs, p)
		switch {
		case i == 0 && after.kept && !before.kept:
			changes = append(changes, Change{Site: site, What: Kept, Pair: p, Problem: after.problems[0]})
		case i == 0 && (was != 0 || before.kept && !after.kept):
			changes = append(changes, Change{Site: site, What: GoesLive, Pair: p})
		case i > 0 && was <= 0:
			changes = append(changes, Change{Site: site, What: Fallback, Pair: p})
		case !p.Chain.equal(before.pairs[was].Chain):
			changes = append(changes, Change{Site: site, What: NewChain, Pair: p})
		}
	}
	for _, p := range before.pairs {
		if place(after.pairs, p) < 0 {
			changes = append(changes, Change{Site: site, What: Leaves, Pair: p})
		}
	}
	for _, p := range after.problems {
		if !slices.Contains(before.problems, p) {
			changes = append(changes, Change{Site: site, What: NotServed, Problem: p})
		}
	}
	return changes
}

// String is the change in a line, for an operator.
func (c Change) String() string {
	switch c.What {
	case NotServed:
		return fmt.Sprintf("site %s: %s: %v", c.Site, c.What, c.Problem)
	case Kept:
		return fmt.Sprintf("site %s: %s: key %s: %v", c.Site, c.What, c.Pair.Key.URI(), c.Problem)
	}
	leaf := c.Pair.Leaf()
	text := fmt.Sprintf("site %s: %s: key %s, %s, serial %x, until %s",
		c.Site, c.What, c.Pair.Key.URI(), leaf.Subject, leaf.SerialNumber, leaf.NotAfter.UTC().Format(time.DateOnly))
	if c.What == NewChain {
		text += ", " + c.Pair.Chain.describe()
	}
	if c.What != Leaves && c.Pair.gap != nil {
		text += "; warning: " + c.Pair.gap.Error()
	}
	return text
}

func (c Change) log(log *slog.Logger) {
	switch c.What {
	case NotServed:
		log.Warn(string(c.What), "site", c.Site, "reason", c.Problem, "hint", hintIn(c.Problem))
	case Kept:
		log.Error(string(c.What), append(describePair(c.Site, c.Pair), "reason", c.Problem, "hint", hintIn(c.Problem))...)
	default:
		log.Info(string(c.What), append(describePair(c.Site, c.Pair), "chain", c.Pair.Chain.describe())...)
	}
}

// warnOfGap warns once of a chain in use that seems to lack a certificate.
func (r *Keyring) warnOfGap(site string, before, after served) {
	for i, p := range after.pairs {
		told := func(old *Pair) bool { return old.gap != nil && old.Chain.equal(p.Chain) }
		if i > 0 || p.gap == nil || slices.ContainsFunc(before.pairs, told) {
			continue
		}
		r.log.Warn("chain seems to lack a certificate", append(describePair(site, p), "reason", p.gap, "hint", hintIn(p.gap))...)
	}
}

func describePair(site string, p *Pair) []any {
	return []any{
		"site", site, "key", p.Key.URI(), "tokens", p.Key.Tokens(), "subject", p.Leaf().Subject.String(),
		"serial", fmt.Sprintf("%x", p.Leaf().SerialNumber), "until", p.Leaf().NotAfter.UTC().Format(time.RFC3339),
	}
}

// ExpiresSoon is how long before its end a certificate is warned of.
const ExpiresSoon = 14 * 24 * time.Hour

// hintForRenewal says how a certificate is renewed.
const hintForRenewal = "clients refuse it from then on: have it renewed (`sallyport csr` makes the request), write the new one in its place, and then `sallyport token rescan`"

// hintForIntermediate says how a chain is renewed whose leaf is good for longer.
const hintForIntermediate = "clients refuse the chain from the end of this intermediate on: get the authority's present one, put it in its place, and then `sallyport token rescan`"

// remindEvery is the time between two warnings of one certificate.
const remindEvery = 24 * time.Hour

// reminder is a certificate that was warned of.
type reminder struct {
	site    string
	ends    [sha256.Size]byte // the certificate of the chain that ends first
	expired bool
}

// remind warns of certificates in use that expire soon, once and then daily.
// The caller holds mu.
func (r *Keyring) remind(now time.Time) {
	current := make(map[reminder]time.Time)
	for _, c := range r.sites {
		for _, s := range *c.serving.Load() {
			p := s.pairs[0]
			ends := p.Chain.Ends()
			left := ends.NotAfter.Sub(now)
			if left >= ExpiresSoon {
				continue
			}
			about := reminder{c.site, sha256.Sum256(ends.Raw), left < 0}
			last, known := r.reminded[about]
			if known && now.Sub(last) < remindEvery {
				current[about] = last
				continue
			}
			current[about] = now
			level, text := slog.LevelWarn, "certificate expires soon"
			if about.expired {
				level, text = slog.LevelError, "certificate has expired and is still served"
			}
			attrs := append(describePair(c.site, p), "days_left", int(left.Hours()/24))
			if ends == p.Leaf() {
				attrs = append(attrs, "hint", hintForRenewal)
			} else {
				attrs = append(attrs, "intermediate", ends.Subject.String(), "hint", hintForIntermediate)
			}
			r.log.Log(context.Background(), level, text, attrs...)
		}
	}
	r.reminded = current
}
