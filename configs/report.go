package configs

import (
	"fmt"
	"strings"
)

// A report gathers the problems of one load. It knows where every setting comes
// from, and which ones are already known to be broken.
type report struct {
	problems  []Problem
	warnings  []Problem
	lines     map[string]int    // path → line of the file
	variables map[string]string // path → variable that has overridden it
	muted     map[string]bool   // paths below which nothing more is reported
}

func newReport() *report {
	return &report{
		lines:     map[string]int{},
		variables: map[string]string{},
		muted:     map[string]bool{},
	}
}

// root is the place of the whole configuration.
func (r *report) root() place { return place{r, ""} }

// err is the report as an error, nil where there is nothing to report.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return &Problems{List: sorted(r.problems)}
}

// A place is a setting that can be reported on.
type place struct {
	report *report
	path   string
}

// key is the place of a key in the mapping at p.
func (p place) key(name string) place { return place{p.report, join(p.path, name)} }

// item is the place of an item in the list at p.
func (p place) item(i int) place { return place{p.report, fmt.Sprintf("%s[%d]", p.path, i)} }

// say reports a problem of p, unless p or what it is part of is muted.
func (p place) say(message, hint string) {
	if p.isMuted() {
		return
	}
	problem := Problem{Path: p.path, Message: message, Hint: hint, Line: p.line()}
	if variable, ok := p.report.variables[p.path]; ok {
		problem.Path, problem.Line = variable, 0
	}
	p.report.problems = append(p.report.problems, problem)
}

// warn reports what is no problem, and should be known.
func (p place) warn(message, hint string) {
	p.report.warnings = append(p.report.warnings, Problem{Path: p.path, Message: message, Hint: hint, Line: p.line()})
}

// isWritten reports whether the file has p.
func (p place) isWritten() bool {
	_, ok := p.report.lines[p.path]
	return ok
}

// sayAt is say for a problem that stands in a line of its own.
func (p place) sayAt(line int, message, hint string) {
	if p.isMuted() {
		return
	}
	p.report.problems = append(p.report.problems, Problem{Path: p.path, Message: message, Hint: hint, Line: line})
}

// refuse is say for an error of a scalar's parse.
func (p place) refuse(err error) {
	f := asFault(err)
	p.say(f.message, f.hint)
}

// sayVariable reports a problem of a variable of the environment. The file may
// have spoiled the setting: that mutes nothing here.
func (r *report) sayVariable(name, message, hint string) {
	if !variableSyntax.MatchString(name) {
		name = quote(name)
	}
	r.problems = append(r.problems, Problem{Path: name, Message: message, Hint: hint})
}

// spoil reports a problem that leaves p without a value, so that nothing more
// can be said of it.
func (p place) spoil(message, hint string) {
	p.say(message, hint)
	p.mute()
}

// mute drops whatever is reported later of p and all below it.
func (p place) mute() { p.report.muted[p.path] = true }

func (p place) isMuted() bool {
	for path := p.path; ; path = parent(path) {
		if p.report.muted[path] {
			return true
		}
		if path == "" {
			return false
		}
	}
}

// line is where p is written or, if it isn't, what it would be a part of.
func (p place) line() int {
	for path := p.path; path != ""; path = parent(path) {
		if line, ok := p.report.lines[path]; ok {
			return line
		}
	}
	return 0
}

// join is the path of a key below a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// parent undoes one join or item.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
