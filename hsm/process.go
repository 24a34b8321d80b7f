package hsm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/hsm/wire"
)

// errGone is the error of calls whose process ended under them.
var errGone = errors.New("the signer process ended")

// exitWait is how long a process may take to exit by itself once its
// connection is closed.
const exitWait = 2 * time.Second

// process is one run of the signer process.
type process struct {
	cmd      *exec.Cmd
	conn     net.Conn
	out      *wire.Writer
	answerIn time.Duration // the watchdog's bound for one signature

	mu      sync.Mutex
	number  uint64
	calls   map[uint64]*call
	closing bool
	cause   error // why it ended; set before ended is closed

	ended  chan struct{}  // closed when no call will be answered any more
	owned  sync.WaitGroup // its goroutines
	exited chan struct{}  // closed when the operating system's process is reaped
}

// call is a question under way. It stays in process.calls until it is answered
// or the process ends, also when nobody waits for it any more: the token is
// still busy with it.
type call struct {
	kind   wire.Kind
	sent   time.Time
	answer chan answer // holds one
	free   func()      // gives the turn back; may be nil
}

type answer struct {
	payload []byte
	err     error
}

// startProcess starts this very binary again, as `sallyport signer`. The child
// gets nothing of this process's environment but what finds files and
// credentials, and no open file but its end of the socketpair.
func startProcess(c Config, log *slog.Logger) (*process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "signer"), os.NewFile(uintptr(fds[1]), "serving process")
	defer theirs.Close()
	conn, err := net.FileConn(ours) // duplicates the descriptor
	ours.Close()
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}

	// /proc/self/exe stays this binary when a newer one is installed in its
	// place, so both ends speak the same protocol.
	cmd := exec.Command("/proc/self/exe", "signer")
	cmd.Args[0] = "sallyport"
	cmd.Dir = c.Dir
	cmd.Env = childEnvironment(c.Environment)
	cmd.ExtraFiles = []*os.File{theirs} // descriptor 3
	cmd.Stderr = newOutputLog(log)
	cmd.WaitDelay = exitWait
	// A group of its own: Ctrl-C on a terminal is for the parent to act on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the signer process: %w", err)
	}

	p := &process{
		cmd: cmd, conn: conn, out: wire.NewWriter(deadlineWriter{conn, c.SignTimeout}),
		answerIn: c.SignTimeout,
		calls:    make(map[uint64]*call),
		ended:    make(chan struct{}), exited: make(chan struct{}),
	}
	p.owned.Go(p.read)
	p.owned.Go(p.watch)
	p.owned.Go(p.reap)
	return p, nil
}

// childEnvironment is the whole environment of the signer process.
func childEnvironment(vendor map[string]string) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "LANG", "TZ", "CREDENTIALS_DIRECTORY"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range vendor { // a later entry wins (exec.Cmd.Env)
		env = append(env, name+"="+value)
	}
	return env
}

// deadlineWriter bounds each write, for a process that was stopped and reads no more.
type deadlineWriter struct {
	conn net.Conn
	most time.Duration
}

func (w deadlineWriter) Write(b []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.most)); err != nil {
		return 0, err
	}
	return w.conn.Write(b)
}

// call asks and waits for the answer, at most until ctx ends. free, which may
// be nil, is called once when the process is done with the question.
func (p *process) call(ctx context.Context, kind wire.Kind, payload []byte, free func()) ([]byte, error) {
	c := &call{kind: kind, sent: time.Now(), answer: make(chan answer, 1), free: free}
	p.mu.Lock()
	if p.cause != nil || p.closing {
		p.mu.Unlock()
		c.finish(answer{err: errGone})
	} else {
		p.number++
		number := p.number
		p.calls[number] = c
		p.mu.Unlock()
		if err := p.out.Write(wire.Frame{Kind: kind, Number: number, Payload: payload}); err != nil {
			p.end(fmt.Errorf("write to the signer process: %w", err))
		}
	}
	select {
	case a := <-c.answer:
		return a.payload, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *call) finish(a answer) {
	c.answer <- a
	if c.free != nil {
		c.free()
	}
}

// ask is call with JSON both ways.
func (p *process) ask(ctx context.Context, kind wire.Kind, question, result any) error {
	payload, err := json.Marshal(question)
	if err != nil {
		return err
	}
	got, err := p.call(ctx, kind, payload, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(got, result); err != nil {
		return fmt.Errorf("%w: %v", wire.ErrFrame, err)
	}
	return nil
}

// read hands answers to their calls until the connection ends.
func (p *process) read() {
	in := wire.NewReader(p.conn)
	for {
		f, err := in.Read()
		if err != nil {
			p.end(fmt.Errorf("%w: %v", errGone, err))
			return
		}
		a := answer{payload: append([]byte(nil), f.Payload...)}
		switch f.Kind {
		case wire.Done:
		case wire.Failed:
			failure, err := wire.ParseFailure(f.Payload)
			if err != nil {
				p.end(err)
				return
			}
			a.err = failure
		default:
			p.end(fmt.Errorf("%w: %s is no answer", wire.ErrFrame, f.Kind))
			return
		}
		p.mu.Lock()
		c := p.calls[f.Number]
		delete(p.calls, f.Number)
		p.mu.Unlock()
		if c == nil {
			p.end(fmt.Errorf("%w: an answer to no question", wire.ErrFrame))
			return
		}
		c.finish(a)
	}
}

// watch ends a process that holds a signature for too long. A call inside a
// library cannot be cancelled: replacing the process is all that helps.
func (p *process) watch() {
	tick := time.NewTicker(p.answerIn / 8)
	defer tick.Stop()
	for {
		select {
		case <-p.ended:
			return
		case now := <-tick.C:
			if p.overdue(now) {
				p.end(fmt.Errorf("%w: a signature took more than %s", ErrTimeout, p.answerIn))
				return
			}
		}
	}
}

func (p *process) overdue(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.kind == wire.Sign && now.Sub(c.sent) > p.answerIn {
			return true
		}
	}
	return false
}

// end kills the process and fails what is under way. Only the first cause counts.
func (p *process) end(cause error) {
	p.mu.Lock()
	if p.cause != nil {
		p.mu.Unlock()
		return
	}
	p.cause = cause
	lost := p.calls
	p.calls = nil
	graceful := p.closing
	p.mu.Unlock()

	close(p.ended)
	p.conn.Close()
	if !graceful {
		_ = p.cmd.Process.Kill() // it may have exited already
	}
	for _, c := range lost {
		c.finish(answer{err: errGone})
	}
}

// reap waits for the operating system's process. One that does not exit by
// itself after its connection ended is killed.
func (p *process) reap() {
	p.owned.Go(func() {
		<-p.ended
		select {
		case <-p.exited:
		case <-time.After(exitWait):
			_ = p.cmd.Process.Kill()
		}
	})
	err := p.cmd.Wait()
	close(p.exited)
	if err != nil {
		p.end(fmt.Errorf("%w: %v", errGone, err))
		return
	}
	p.end(errGone)
}

// stop lets the process go and waits until nothing of it is left.
func (p *process) stop() {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.end(errGone)
	p.owned.Wait()
}
