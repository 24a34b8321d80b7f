package main

import (
	"bytes"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"syscall"
)

// Go answers SIGQUIT and SIGABRT with the stacks of all goroutines and the arguments of
// their functions, of which some are keys, or parts of requests, and ends. None of
// that belongs in a log.

// endQuietly has these signals end the process without a word, with the status that a
// shell gives them.
func endQuietly(signals ...os.Signal) {
	came := make(chan os.Signal, 1)
	signal.Notify(came, signals...)
	go func() {
		s, _ := (<-came).(syscall.Signal)
		os.Exit(128 + int(s))
	}()
}

// maxTrace bounds what is logged of the goroutines, in bytes.
const maxTrace = 64 << 10

// tellOnQuit has SIGQUIT log where the goroutines are, without arguments, and go on. The
// returned function ends that.
func tellOnQuit(log *slog.Logger) (stop func()) {
	quits, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(quits, syscall.SIGQUIT)
	go func() {
		defer close(done)
		for range quits {
			log.Info("goroutines", "cause", "SIGQUIT", "count", runtime.NumGoroutine(), "stacks", stacks())
		}
	}()
	return func() {
		signal.Ignore(syscall.SIGQUIT) // it is over in a moment
		close(quits)
		<-done
	}
}

// stacks are the functions and lines that goroutines are at, with how many are at each.
func stacks() string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return err.Error()
	}
	if b.Len() > maxTrace {
		b.Truncate(maxTrace)
		b.WriteString("…")
	}
	return b.String()
}
