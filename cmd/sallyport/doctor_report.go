package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"sallyport/hsm/wire"
)

// level says how a finding bears on handshakes.
type level string

const (
	levelOK   level = "ok"
	levelWarn level = "warn" // worth a look; handshakes work
	levelFail level = "fail" // handshakes would break
)

// finding is one thing that was looked at. Its names are those of --json, which
// stay.
type finding struct {
	Check   string `json:"check"` // a section of the report
	Subject string `json:"subject,omitempty"`
	Level   level  `json:"level"`
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"`
}

// verdict is what all findings come to.
type verdict string

const (
	verdictFit     verdict = "fit"
	verdictUnfit   verdict = "unfit"
	verdictUnknown verdict = "unknown" // it was interrupted
)

// doctorReport is what doctor prints, as text and as JSON.
type doctorReport struct {
	Token       string            `json:"token"`
	Findings    []finding         `json:"findings"`
	Examination *wire.Examination `json:"examination,omitempty"`
	Secrets     *wire.SecretList  `json:"secrets,omitempty"`
	Keys        []keyAbility      `json:"keys"`
	Curves      []curve           `json:"curves"`
	Advice      *advice           `json:"advice,omitempty"`
	Verdict     verdict           `json:"verdict"`
	Reasons     []string          `json:"reasons"` // why it is not fit
}

// keyAbility is what a key can do, for --json.
type keyAbility struct {
	Label   string   `json:"label"`
	ID      []byte   `json:"id"`
	Type    string   `json:"type"`
	URI     string   `json:"uri"`
	Sites   []string `json:"sites"` // that serve it
	Schemes []string `json:"schemes"`
	Missing []string `json:"missing"`
	Error   string   `json:"error,omitempty"`
}

// newDoctorReport is one without anything yet: empty lists, not null, for --json.
func newDoctorReport(token string) doctorReport {
	return doctorReport{Token: token, Findings: []finding{}, Keys: []keyAbility{}, Curves: []curve{}, Reasons: []string{}}
}

func (r *doctorReport) add(check, subject string, l level, format string, args ...any) {
	r.Findings = append(r.Findings, finding{Check: check, Subject: subject, Level: l, Text: fmt.Sprintf(format, args...)})
}

// hint adds to the last finding what can be done about it.
func (r *doctorReport) hint(text string) { r.Findings[len(r.Findings)-1].Hint = text }

// fail adds an error that would break handshakes.
func (r *doctorReport) fail(check, subject string, err error) {
	r.add(check, subject, levelFail, "%s", err)
	r.hint(hintOf(err))
}

// has says whether there is such a finding already.
func (r *doctorReport) has(check, subject string) bool {
	return slices.ContainsFunc(r.Findings, func(f finding) bool { return f.Check == check && f.Subject == subject })
}

// fails says whether anything would break handshakes.
func (r *doctorReport) fails() bool {
	return slices.ContainsFunc(r.Findings, func(f finding) bool { return f.Level == levelFail })
}

// conclude comes to the verdict.
func (r *doctorReport) conclude(interrupted bool) {
	r.Verdict = verdictFit
	for _, f := range r.Findings {
		if f.Level == levelFail {
			r.Verdict = verdictUnfit
			r.Reasons = append(r.Reasons, strings.TrimPrefix(f.Subject+": "+f.Text, ": "))
		}
	}
	if interrupted {
		r.Verdict, r.Reasons = verdictUnknown, append([]string{"interrupted"}, r.Reasons...)
	}
}

// firstHint is that of the first finding that makes the token unfit.
func (r *doctorReport) firstHint() string {
	for _, f := range r.Findings {
		if f.Level == levelFail {
			return f.Hint
		}
	}
	return ""
}

// sections are the checks in the order of the report, with their titles.
var sections = []struct{ check, title string }{
	{"token", ""},
	{"mechanism", "mechanisms"},
	{"key", "keys"},
	{"certificate", "certificates"},
	{"secret", "ticket secrets"},
	{"load", "signatures under load"},
}

// print writes the report as text.
func (r *doctorReport) print(out io.Writer) error {
	w := &printer{out: out}
	w.line("token %s", r.Token)
	for _, s := range sections {
		r.section(w, s.check, s.title)
	}
	if a := r.Advice; a != nil {
		w.line("\nrecommended")
		w.line("  %-14s  %s", fmt.Sprintf("sessions: %d", a.Sessions), a.SessionsWhy)
		w.line("  %-14s  %s", fmt.Sprintf("processes: %d", a.Processes), a.ProcessesWhy)
	}
	w.line("\nverdict: %s", r.verdictLine())
	return w.err
}

func (r *doctorReport) section(w *printer, check, title string) {
	var rows []finding
	width := 0
	for _, f := range r.Findings {
		if f.Check == check {
			rows = append(rows, f)
			width = max(width, columnsOf(plain(f.Subject)))
		}
	}
	curves := check == "load" && len(r.Curves) > 0
	if len(rows) == 0 && !curves {
		return
	}
	if title != "" {
		w.line("\n%s", title)
	}
	if curves {
		for i, c := range r.Curves {
			c.print(w, i == 0)
		}
	}
	for _, f := range rows {
		w.line("  %-4s  %s  %s", f.Level, padTo(plain(f.Subject), width), f.Text)
		if f.Hint != "" {
			w.line("  %-4s  %-*s  hint: %s", "", width, "", f.Hint)
		}
	}
}

func (r *doctorReport) verdictLine() string {
	switch n := len(r.Reasons); {
	case n == 1:
		return fmt.Sprintf("%s: %s", r.Verdict, r.Reasons[0])
	case n > 1:
		return fmt.Sprintf("%s: %s (and %d more)", r.Verdict, r.Reasons[0], n-1)
	}
	warnings := 0
	for _, f := range r.Findings {
		if f.Level == levelWarn {
			warnings++
		}
	}
	if warnings == 0 {
		return "fit"
	}
	return "fit, with " + count(warnings, "warning", "warnings")
}

// count prints a number of things.
func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// printer prints lines and keeps the first error. What a vendor's library said
// is in them: a terminal must not take it for its own codes.
type printer struct {
	out io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err != nil {
		return
	}
	_, p.err = fmt.Fprintln(p.out, strings.TrimRight(plain(fmt.Sprintf(format, args...)), " "))
}
