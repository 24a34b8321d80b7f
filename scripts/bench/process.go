package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// command is how a program is started.
type command struct {
	args        []string
	environment []string // besides this process's own
	pinned      bool     // to the CPUs that servers under test share
}

// process is a program that runs in the foreground, beside this one.
type process struct {
	cmd   *exec.Cmd
	log   string        // the file that it writes to
	ended chan struct{} // closed when it has exited
	err   error         // its exit; set before ended is closed
}

// patience is with the machine, not with what is tested.
const patience = 30 * time.Second

func startProcess(c command, log string) (*process, error) {
	args := c.args
	if c.pinned {
		// taskset becomes the program, so its process is the program's.
		args = append([]string{"taskset", "-c", serverCPUs()}, args...)
	}
	p := &process{cmd: exec.Command(args[0], args[1:]...), log: log, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), c.environment...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // Ctrl-C comes to this process, which ends the others
		Pdeathsig: syscall.SIGTERM,
	}
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// stop ends the process and what it has started.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
		_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
		<-p.ended
		return fmt.Errorf("%s did not stop on SIGTERM", p.cmd)
	}
}

// waitUntil waits until ready says so, or the process ends.
func (p *process) waitUntil(ready func() error) error {
	deadline := time.After(patience)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return p.complaint(errors.New("ended at its start"))
		case <-deadline:
			return p.complaint(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// complaint is err with the end of what the process wrote.
func (p *process) complaint(err error) error {
	log, _ := os.ReadFile(p.log) // the error stands without it
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	lines = lines[max(0, len(lines)-10):]
	return fmt.Errorf("%s: %w\n%s", p.cmd, err, bytes.Join(lines, []byte("\n")))
}
