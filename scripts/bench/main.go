package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == sinkCommand {
		exit(runSink(os.Args[2]))
	}
	o, err := parseOptions(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err = run(ctx, o)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run makes the comparison and writes what came of it.
func run(ctx context.Context, o options) (err error) {
	if err := raiseFileLimit(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sallyport-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBench(dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.rounds(ctx); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "\nthe report is %s/report.md\n", o.out)
	if n := b.record.failures(); n > 0 {
		return fmt.Errorf("%s failed; the report says why", count(n, "sample"))
	}
	return nil
}

// raiseFileLimit lets this process and those that it starts open as many files
// as the machine allows. Setting it by hand has children keep it.
func raiseFileLimit() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if l.Cur < filesNeeded {
		return fmt.Errorf("only %d files may be open at once, and this needs %d (ulimit -Hn)", l.Cur, filesNeeded)
	}
	return nil
}

const filesNeeded = 10000
