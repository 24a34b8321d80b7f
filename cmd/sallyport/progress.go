package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// progress tells a terminal how far the measuring is. To anything else it says
// only how long it will take.
type progress struct {
	out      io.Writer
	terminal bool
	step     int
	steps    int
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// begin announces so many steps, and how long they take together.
func (p *progress) begin(steps int, all time.Duration) {
	p.steps = steps
	fmt.Fprintf(p.out, "signing as fast as the token can for about %s\n", all.Round(100*time.Millisecond))
}

// next announces a step.
func (p *progress) next(format string, args ...any) {
	p.step++
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%d of %d: %s", p.step, p.steps, fmt.Sprintf(format, args...))
	}
}

// done clears the line.
func (p *progress) done() {
	if p.terminal && p.step > 0 {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
