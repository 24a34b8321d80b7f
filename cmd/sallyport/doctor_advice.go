package main

import (
	"fmt"
	"slices"
	"strings"
)

// advice is what the configuration should say of the token.
type advice struct {
	Sessions     int    `json:"sessions"`
	SessionsWhy  string `json:"sessions_why"`
	Processes    int    `json:"processes"`
	ProcessesWhy string `json:"processes_why"`
}

const (
	// enough of the best rate is what the recommended sessions make.
	enough = 0.95
	// gain is by how much a rate must be better to be called so, and not noise.
	gain = 1.2
	// growing is by how much twice the sessions make a rate better that will
	// hardly have seen its best yet.
	growing = 1.25
)

// curve returns the curve of a type of key; an empty one if there is none.
func (r *doctorReport) curve(keyType string, processes int) curve {
	for _, c := range r.Curves {
		if c.Type == keyType && c.Processes == processes {
			return c
		}
	}
	return curve{}
}

// best is the step of the highest rate without a failure.
func (c curve) best() step {
	var best step
	for _, s := range c.Steps {
		if s.Error == "" && s.Rate > best.Rate {
			best = s
		}
	}
	return best
}

// knee is the step from which on more signatures at once gain next to nothing.
func (c curve) knee() step {
	for _, s := range c.Steps {
		if s.Error == "" && s.Rate >= enough*c.best().Rate {
			return s
		}
	}
	return step{AtOnce: 1}
}

// grows says whether the rate still grew at the last step.
func (c curve) grows() bool {
	n := len(c.Steps)
	return n > 1 && c.Steps[n-1].Error == "" && c.Steps[n-1].Rate > growing*c.Steps[n-2].Rate
}

// signs says whether anything was measured.
func (r *doctorReport) signs() bool {
	return slices.ContainsFunc(r.Curves, func(c curve) bool { return c.best().Rate > 0 })
}

// advise recommends settings by what was measured.
func (r *doctorReport) advise(p loadPlan) *advice {
	a := &advice{Sessions: 1}
	var slowest curve // the type of key that needs the most sessions
	ecdsa := false
	for _, k := range p.keys {
		c := r.curve(k.Info.Type, 1)
		ecdsa = ecdsa || !c.isRSA()
		if n := c.knee().AtOnce; len(c.Steps) > 0 && (slowest.Type == "" || n > a.Sessions) {
			a.Sessions, slowest = n, c
		}
	}
	knee, best := slowest.knee(), slowest.best()
	switch {
	case a.Sessions == 1:
		a.SessionsWhy = fmt.Sprintf("more at once gain nothing: %s of %s signatures per second (%s)", rate(knee.Rate), rate(best.Rate), slowest.Type)
	case a.Sessions == p.sessions && slowest.grows():
		a.SessionsWhy = fmt.Sprintf("%s signatures per second (%s), and still growing: measure more with --sessions %d", rate(best.Rate), slowest.Type, 2*p.sessions)
	case knee == best:
		a.SessionsWhy = fmt.Sprintf("%s signatures per second (%s), the best of all that was tried", rate(best.Rate), slowest.Type)
	default:
		a.SessionsWhy = fmt.Sprintf("the fewest for %.0f %% of the best rate, %s of %s signatures per second (%s)", enough*100, rate(knee.Rate), rate(best.Rate), slowest.Type)
	}
	if slowest.isRSA() && ecdsa && a.Sessions > 1 && a.Sessions < p.sessions {
		if n := besideECDSA(a.Sessions); n <= p.sessions {
			a.Sessions = n
			a.SessionsWhy += "; RSA leaves an eighth to ECDSA"
		}
	}
	r.adviseProcesses(a, p)
	r.limit(a)
	return a
}

// adviseProcesses recommends several processes for their speed, or two, so that
// one goes on while the other is replaced.
func (r *doctorReport) adviseProcesses(a *advice, p loadPlan) {
	a.Processes, a.ProcessesWhy = 2, "a second one adds no speed, but goes on while the first has to be replaced"
	most, measured := gain, false
	for _, k := range p.keys {
		one, several := r.curve(k.Info.Type, 1), r.curve(k.Info.Type, p.processes)
		measured = measured || several.best().Rate > 0
		if one.best().Rate > 0 && several.best().Rate >= most*one.best().Rate {
			most = several.best().Rate / one.best().Rate
			a.Processes = p.processes
			a.ProcessesWhy = fmt.Sprintf("%d processes make %s signatures per second where one makes %s (%s); and while one is replaced, others go on",
				p.processes, rate(several.best().Rate), rate(one.best().Rate), k.Info.Type)
		}
	}
	if !measured {
		a.Processes, a.ProcessesWhy = 1, "another one does not work, see above"
	}
}

// limit keeps the advice within what the token allows. Each process has two
// sessions more: that of the login, and one to look at objects by.
func (r *doctorReport) limit(a *advice) {
	if r.Examination == nil || r.Examination.Limits.Most <= 0 {
		return
	}
	most := r.Examination.Limits.Most
	if fits := max(1, most/a.Processes-2); fits < a.Sessions {
		a.Sessions = fits
		a.SessionsWhy += fmt.Sprintf("; the token allows %d sessions, of all processes together", most)
	}
}

// besideECDSA is how many sessions leave RSA n where an eighth, and one at
// least, is kept for ECDSA.
func besideECDSA(n int) int {
	for sessions := n + 1; ; sessions++ {
		if sessions-max(1, sessions/8) >= n {
			return sessions
		}
	}
}

func (c curve) isRSA() bool { return strings.HasPrefix(c.Type, "RSA") }

// rate prints signatures per second.
func rate(perSecond float64) string {
	if perSecond < 10 {
		return fmt.Sprintf("%.1f", perSecond)
	}
	return fmt.Sprintf("%.0f", perSecond)
}
