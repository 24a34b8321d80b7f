package hsm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/hsm/wire"
)

var (
	// errGone is the error of calls whose process ended under them.
	errGone = errors.New("the signer process ended")
	// errStuck is the error of calls that had no answer within the sign timeout.
	errStuck = errors.New("the signature had no answer in time")
)

// exitWait is how long a process may take to exit by itself once its
// connection is closed.
const exitWait = 2 * time.Second

// process is one run of the signer process.
type process struct {
	cmd      *exec.Cmd
	conn     net.Conn
	record   record
	output   *outputLog
	out      *wire.Writer
	answerIn time.Duration // the watchdog's bound for one signature

	mu      sync.Mutex
	number  uint64
	calls   map[uint64]*call
	closing bool
	login   wire.LoginStep // how far its login has come; 0: not begun
	blame   error          // why it was condemned; set before condemned is closed
	cause   error          // why it ended; set before ended is closed

	condemned chan struct{}  // closed when it should be replaced, though it may still answer
	ended     chan struct{}  // closed when no call will be answered any more
	drained   chan struct{}  // closed when all that it sent has been read
	owned     sync.WaitGroup // its goroutines
	exited    chan struct{}  // closed when the operating system's process is reaped
}

// call is a question under way. It stays in process.calls until it is answered
// or the process ends, also when nobody waits for it any more: the token is
// still busy with it.
type call struct {
	kind   wire.Kind
	sent   time.Time
	told   bool        // answer has got its one; guarded by process.mu
	answer chan answer // holds one
	free   func()      // gives the turn back; may be nil
}

type answer struct {
	payload []byte
	err     error
}

// startProcess starts this very binary again, as `sallyport signer`. The child
// gets nothing of this process's environment but what finds files and
// credentials, and no open file but its end of the socketpair and, where its
// token's PIN was in the environment, the file that this is in now.
func startProcess(c Config, log *slog.Logger) (*process, error) {
	// Whoever started this process may have left it descriptors that a
	// vendor's library has no business with.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("close_range: %w", err)
	}
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
	if c.PIN != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, c.PIN) // descriptor 4
	}
	output := newOutputLog(log)
	cmd.Stderr = output
	cmd.WaitDelay = exitWait
	// A group of its own: Ctrl-C on a terminal is for the parent to act on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the signer process: %w", err)
	}

	p := &process{
		cmd: cmd, conn: conn, output: output, out: wire.NewWriter(deadlineWriter{conn, c.SignTimeout}),
		answerIn:  c.SignTimeout,
		calls:     make(map[uint64]*call),
		condemned: make(chan struct{}), ended: make(chan struct{}),
		drained: make(chan struct{}), exited: make(chan struct{}),
	}
	p.owned.Go(func() {
		if guarded(log, "signer connection", p.read) {
			p.end(errPanicked)
		}
	})
	p.owned.Go(p.watch)
	p.owned.Go(p.reap)
	return p, nil
}

// childEnvironment is the whole environment of the signer process.
func childEnvironment(vendor map[string]string) []string {
	// Go prints stacks and registers of a fatal signal all the same; output.go
	// keeps them out of the log.
	env := []string{"GOTRACEBACK=none"}
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
		c.tell(answer{err: errGone})
		p.mu.Unlock()
		c.release()
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

// tell answers whoever waits for the call; only the first answer counts. The
// caller holds the process's mu.
func (c *call) tell(a answer) {
	if !c.told {
		c.told = true
		c.answer <- a
	}
}

// release gives the turn back, when the process is done with the call.
func (c *call) release() {
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
	drained := sync.OnceFunc(func() { close(p.drained) })
	defer drained()
	in := wire.NewReader(p.conn)
	for {
		f, err := in.Read()
		if err != nil {
			drained()
			// How it exited says more than that it did.
			select {
			case <-p.exited:
			case <-time.After(exitWait):
				p.end(fmt.Errorf("%w: %v", errGone, err))
			}
			return
		}
		a := answer{payload: append([]byte(nil), f.Payload...)}
		switch f.Kind {
		case wire.Login:
			if err := p.noteLogin(f); err != nil {
				p.end(err)
				return
			}
			continue
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
		if c != nil {
			c.tell(a)
		}
		gone := p.cause != nil
		p.mu.Unlock()
		switch {
		case c != nil:
			c.release()
		case !gone:
			p.end(fmt.Errorf("%w: an answer to no question", wire.ErrFrame))
			return
		}
	}
}

// noteLogin keeps how far the login has come.
func (p *process) noteLogin(f wire.Frame) error {
	step, err := wire.ParseLogin(f.Payload)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.calls[f.Number]; p.cause == nil && (c == nil || c.kind != wire.Open) {
		return fmt.Errorf("%w: a login that nobody asked for", wire.ErrFrame)
	}
	p.login = step
	return nil
}

// loginStep is how far the login has come.
func (p *process) loginStep() wire.LoginStep {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.login
}

// watch condemns a process that holds a signature for too long. A call inside
// a library cannot be cancelled: replacing the process is all that helps. Other
// calls of the process may still be answered, so it is not ended here.
func (p *process) watch() {
	tick := time.NewTicker(max(p.answerIn/8, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-p.ended:
			return
		case now := <-tick.C:
			if n := p.giveUp(now); n > 0 {
				p.condemn(fmt.Errorf("%w: %d took more than %s", errStuck, n, p.answerIn))
			}
		}
	}
}

// giveUp tells those who wait for an overdue signature that it will not come,
// so that they may try elsewhere, and returns how many such calls there are.
func (p *process) giveUp(now time.Time) (overdue int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.kind == wire.Sign && now.Sub(c.sent) > p.answerIn {
			c.tell(answer{err: errStuck})
			overdue++
		}
	}
	return overdue
}

// condemn asks for the process to be replaced. Only the first reason counts.
func (p *process) condemn(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blame == nil {
		p.blame = why
		close(p.condemned)
	}
}

// leaving says whether the process has ended or is to be replaced.
func (p *process) leaving() bool {
	select {
	case <-p.ended:
		return true
	case <-p.condemned:
		return true
	default:
		return false
	}
}

// busy says whether calls are under way.
func (p *process) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls) > 0
}

// end kills the process and fails what is under way. Only the first cause counts.
func (p *process) end(cause error) {
	if !errors.Is(cause, errGone) {
		cause = fmt.Errorf("%w: %w", errGone, cause)
	}
	p.mu.Lock()
	if p.cause != nil {
		p.mu.Unlock()
		return
	}
	p.cause = cause
	lost := p.calls
	p.calls = nil
	for _, c := range lost {
		c.tell(answer{err: cause})
	}
	graceful := p.closing
	p.mu.Unlock()

	close(p.ended)
	p.conn.Close()
	if !graceful {
		_ = p.cmd.Process.Kill() // it may have exited already
	}
	for _, c := range lost {
		c.release()
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
	if err == nil {
		err = errors.New("exit status 0")
	}
	if last := p.output.last(); last != "" {
		err = fmt.Errorf("%w (it printed: %s)", err, last)
	}
	// What it sent last is still to be read: whether its login had begun.
	select {
	case <-p.drained:
	case <-p.ended:
	case <-time.After(exitWait):
	}
	p.end(fmt.Errorf("%w: %w", errGone, err))
	close(p.exited)
}

// stop lets the process go and waits until nothing of it is left. A process
// that not even SIGKILL ends, since it waits inside a driver, is left behind.
func (p *process) stop() {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.end(errGone)
	gone := make(chan struct{})
	go func() {
		p.owned.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(3 * exitWait):
		p.output.log.Error("signer process cannot be killed and is left behind", "pid", p.cmd.Process.Pid)
	}
}
