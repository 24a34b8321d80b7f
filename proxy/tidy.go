package proxy

import (
	"runtime/debug"
	"syscall"
	"time"
)

// tidy gives memory back once a burst of new connections is over: their
// handshakes leave garbage and grown stacks behind, and a process that has become
// quiet has no other reason to collect it for minutes. A busy one is left alone,
// since it collects by itself.
type tidy struct {
	opened uint64        // connections so far, when it was last done
	cpu    time.Duration // of the process, when it last looked
}

const (
	tidyEvery = 2 * time.Second
	// tidyWorth is how many connections make a burst.
	tidyWorth = 256
	// tidyQuiet is how much of a processor a quiet process uses.
	tidyQuiet = 0.05
)

// look is called every so often, with how many connections were opened so far and
// when the last one was.
func (t *tidy) look(opened uint64, last time.Time) {
	before := t.cpu
	t.cpu = processTime()
	quiet := t.cpu-before < time.Duration(tidyQuiet*float64(tidyEvery))
	// What is done for connections that become quiet has been done by then.
	settled := time.Since(last) > 2*tidyEvery
	if !quiet || !settled || opened-t.opened < tidyWorth {
		return
	}
	t.opened = opened
	debug.FreeOSMemory()
}

// processTime is the processor time that the process has used.
func processTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
