package hsm

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"sync"
)

const (
	maxOutputLines = 40
	maxOutputLine  = 512
)

// outputLog logs what a vendor's library (or a crash) prints on standard
// error, line by line, and bounded for each process: a library that chatters
// must not fill the disk.
type outputLog struct {
	log *slog.Logger

	mu      sync.Mutex
	line    []byte
	latest  string
	lines   int
	crashed bool
}

// crashes are how Go begins to tell of its end. What follows is never logged:
// after a fatal signal it prints stacks and registers whatever GOTRACEBACK says.
var crashes = regexp.MustCompile(`^(SIG[A-Z]+: |fatal error: |panic: |unexpected fault address |runtime: )`)

func newOutputLog(log *slog.Logger) *outputLog { return &outputLog{log: log} }

// Write never fails, so that the process is never stopped by its own output.
func (o *outputLog) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(b)
	for {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		o.line = append(o.line, line[:min(len(line), maxOutputLine-len(o.line))]...)
		if !whole {
			return n, nil
		}
		o.emit()
		b = rest
	}
}

// last is the last line that was printed, for the reason of an end.
func (o *outputLog) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.latest
}

func (o *outputLog) emit() {
	text := strings.TrimSpace(string(o.line))
	o.line = o.line[:0]
	if text == "" {
		return
	}
	if o.crashed {
		return // stacks and registers, which may hold anything
	}
	o.latest = text
	o.crashed = crashes.MatchString(text)
	if o.lines > maxOutputLines {
		return
	}
	if o.lines++; o.lines > maxOutputLines {
		text = "(more was printed and is left out)"
	}
	o.log.Warn("signer process printed", "line", text)
}
