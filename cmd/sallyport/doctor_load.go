package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/hsm"
)

// curve is how a kind of key signs with more and more signatures at once.
type curve struct {
	Type      string `json:"type"`
	Key       string `json:"key"` // the URI of the one that was measured
	Scheme    string `json:"scheme"`
	Processes int    `json:"processes"`
	Steps     []step `json:"steps"`
}

// step is one measurement.
type step struct {
	Level      level   `json:"level"`
	AtOnce     int     `json:"sessions"` // in all processes together
	Signatures int     `json:"signatures"`
	Rate       float64 `json:"per_second"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	Slowest    float64 `json:"slowest_ms"`
	Slow       int     `json:"slow"` // signatures that took a second or more
	Error      string  `json:"error,omitempty"`
}

// loadPlan is what will be measured.
type loadPlan struct {
	keys      []hsm.Ability // one of each type
	sessions  int           // that a process can have at most
	processes int           // that are compared with one
}

// newLoadPlan takes the first key of each type: those that sites serve come first.
func newLoadPlan(able []hsm.Ability, sessions, processes int) loadPlan {
	p := loadPlan{sessions: sessions, processes: processes}
	for _, a := range able {
		if !slices.ContainsFunc(p.keys, func(k hsm.Ability) bool { return k.Info.Type == a.Info.Type }) {
			p.keys = append(p.keys, a)
		}
	}
	return p
}

// doubling counts 1, 2, 4 … up to most, which is the last one.
func doubling(most int) []int {
	var counts []int
	for n := 1; n < most; n *= 2 {
		counts = append(counts, n)
	}
	return append(counts, most)
}

// steps are how many measurements there are at most, and how long they take
// together if each is to last for d.
func (p loadPlan) steps(d time.Duration) (n int, all time.Duration) {
	each := len(doubling(p.sessions)) + 2
	for _, k := range p.keys {
		n += each
		all += time.Duration(each) * (max(d, k.Took) + k.Took)
	}
	return n, all
}

// timeoutHint says what can be done about a signature that failed.
func timeoutHint(err error) string {
	if errors.Is(err, hsm.ErrTimeout) {
		return "raise the token's sign_timeout, lower its sessions, or see what else keeps the device busy"
	}
	return hintOf(err)
}

// measureSeveral measures several processes, which show whether a library works
// off one call after the other.
func (d *doctorVisit) measureSeveral(ctx context.Context, p loadPlan) {
	c := d.token
	c.Processes = p.processes
	token, stop := startToken(ctx, c)
	defer stop()
	if err := token.Whole(ctx); err != nil {
		if ctx.Err() == nil {
			d.report.add("load", "processes", levelWarn, "%d do not open side by side: %v", p.processes, err)
			d.report.hint(hintOf(err))
		}
		return
	}
	d.measure(ctx, token, p, p.processes)
}

// print writes the curve as a table, with its head above the first one.
func (c curve) print(w *printer, first bool) {
	if first {
		w.line("  %-4s  %-8s  %-9s  %7s  %10s  %11s  %11s", "", "key", "processes", "at once", "per second", "half within", "99 % within")
	}
	for _, s := range c.Steps {
		if s.Error != "" {
			w.line("  %-4s  %-8s  %9d  %7d  %10s", s.Level, c.Type, c.Processes, s.AtOnce, "fails")
			continue
		}
		w.line("  %-4s  %-8s  %9d  %7d  %10s  %11s  %11s", s.Level, c.Type, c.Processes, s.AtOnce, rate(s.Rate),
			latency(duration(s.P50)), latency(duration(s.P99)))
	}
}

func duration(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// counts are how many signatures are under way at once in each measurement of a
// type of key. One process is measured at all numbers of sessions, several at
// the number that did for one, in each, and at the most.
func (r *doctorReport) counts(p loadPlan, keyType string, processes int) []int {
	if processes == 1 {
		return doubling(p.sessions)
	}
	at := processes * r.curve(keyType, 1).knee().AtOnce
	return slices.Compact([]int{at, processes * p.sessions})
}

// measure measures each type of key in so many processes. A type ends where
// signatures fail.
func (d *doctorVisit) measure(ctx context.Context, token *hsm.Token, p loadPlan, processes int) {
	for _, a := range p.keys {
		counts := d.report.counts(p, a.Info.Type, processes)
		key, err := token.Key(a.Info)
		if err != nil {
			d.report.fail("load", a.Info.Type, err)
			continue
		}
		c := curve{Type: a.Info.Type, Key: a.URI, Scheme: a.Scheme.String(), Processes: processes}
		for _, n := range counts {
			d.progress.next("%s, %d at once in %s", c.Type, n, count(processes, "process", "processes"))
			l := key.Load(ctx, a.Scheme, n, d.duration)
			if ctx.Err() != nil {
				break
			}
			c.Steps = append(c.Steps, d.judge(c.Type, l))
			if l.Err != nil {
				break
			}
		}
		if len(c.Steps) > 0 {
			d.report.Curves = append(d.report.Curves, c)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// judge makes a step of a measurement. One that comes close to the sign timeout
// is worth a warning: real load is less even than this.
func (d *doctorVisit) judge(keyType string, l hsm.Load) step {
	s := step{
		Level: levelOK, AtOnce: l.AtOnce, Signatures: l.Signatures, Rate: l.Rate,
		P50: l.P50.Seconds() * 1e3, P99: l.P99.Seconds() * 1e3, Slowest: l.Slowest.Seconds() * 1e3, Slow: l.Slow,
	}
	switch {
	case l.Err != nil:
		s.Level, s.Error = levelFail, l.Err.Error()
		d.report.fail("load", keyType, hint(fmt.Errorf("with %d at once: %w", l.AtOnce, l.Err), timeoutHint(l.Err)))
	case 2*l.P99 > d.token.SignTimeout:
		s.Level = levelWarn
		if !d.report.has("load", keyType) {
			d.report.add("load", keyType, levelWarn, "from %d at once, some take %s or more, and sign_timeout is %s", l.AtOnce, latency(l.P99), d.token.SignTimeout)
		}
	}
	return s
}
