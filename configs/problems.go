package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Path is the setting, such as `sites[1].certificates[0].key`, or the
	// variable of the environment that holds the value. It is empty for a
	// problem of the file as a whole.
	Path    string
	Message string // the cause
	Hint    string // what to do about it; may be empty
	// Line is where the setting is written, or else what it is missing from;
	// 0: in no line of the file.
	Line int
}

// String is the problem in one line, without its hint and its line.
func (p Problem) String() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

// Problems is the error of a configuration that was read and is wrong.
type Problems struct {
	File string    // as given to Load; empty after Parse
	List []Problem // never empty; by line, path and message
}

// Error gives each problem a line:
//
//	sallyport.yaml:12: sites[0].routes[0].pool: no pool named "wbe" (hint: did you mean "web"?)
func (p *Problems) Error() string {
	lines := make([]string, 0, len(p.List))
	for _, problem := range p.List {
		var b strings.Builder
		switch file := p.File; {
		case file != "" && problem.Line > 0:
			fmt.Fprintf(&b, "%s:%d: ", file, problem.Line)
		case file != "":
			b.WriteString(file + ": ")
		case problem.Line > 0:
			fmt.Fprintf(&b, "line %d: ", problem.Line)
		}
		b.WriteString(problem.String())
		if problem.Hint != "" {
			fmt.Fprintf(&b, " (hint: %s)", problem.Hint)
		}
		lines = append(lines, b.String())
	}
	return strings.Join(lines, "\n")
}

// sorted orders problems as Problems.List has them.
func sorted(list []Problem) []Problem {
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Message, b.Message))
	})
	return list
}
