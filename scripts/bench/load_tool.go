package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// tool is a load made by another program; the backend counts its requests.
type tool struct {
	command     func(i *instance) []string
	connections int
	endless     bool // until it is interrupted
	count       func(context.Context) (int64, error)
	check       func(output []byte) error // what the program says at its end

	cmd    *exec.Cmd
	output bytes.Buffer
	ended  chan struct{} // closed when it has exited
	err    error         // its exit; set before ended is closed
}

// start waits until there have been as many requests as there are connections,
// so that the handshakes are over when the load is measured.
func (t *tool) start(ctx context.Context, i *instance) error {
	before, err := t.count(ctx)
	if err != nil {
		return err
	}
	if err := t.begin(ctx, i); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; {
		now, err := t.done(ctx)
		if err != nil {
			return err
		}
		if now-before >= int64(t.connections) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s got %d answers on %d connections within %v", t.cmd.Args[0], now-before, t.connections, patience)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func (t *tool) begin(ctx context.Context, i *instance) error {
	args := t.command(i)
	t.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	t.cmd.Stdout, t.cmd.Stderr = &t.output, &t.output
	if err := t.cmd.Start(); err != nil {
		return err
	}
	t.ended = make(chan struct{})
	go func() {
		t.err = t.cmd.Wait()
		close(t.ended)
	}()
	return nil
}

// done is an error if the program ended while it was still needed.
func (t *tool) done(ctx context.Context) (int64, error) {
	select {
	case <-t.ended:
		return 0, cmp.Or(t.outcome(), fmt.Errorf("%s ended before the window did", t.cmd.Args[0]))
	default:
		return t.count(ctx)
	}
}

// stop waits for the program's own end, since only then it tells of errors.
func (t *tool) stop() error {
	if t.endless {
		_ = t.cmd.Process.Signal(syscall.SIGINT) // else it has ended
	}
	<-t.ended
	return t.outcome()
}

// outcome is what the program says, once it has ended.
func (t *tool) outcome() error {
	if t.err != nil {
		return fmt.Errorf("%s: %w\n%s", t.cmd, t.err, t.output.Bytes())
	}
	if err := t.check(t.output.Bytes()); err != nil {
		return fmt.Errorf("%s: %w", t.cmd.Args[0], err)
	}
	return nil
}

// number is what a pattern's group finds in a tool's output.
func number(output []byte, pattern *regexp.Regexp) (int64, bool) {
	m := pattern.FindSubmatch(output)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	return n, err == nil
}
