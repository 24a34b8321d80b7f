package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sallyport/hsm/hsmtest"
)

// served is a sallyport serve that runs during a test.
type served struct {
	cmd       *exec.Cmd
	log       string // the file of its service log
	clients   string // the address of its last listener
	redirects string // and of its last redirect
	admin     string
	ended     chan struct{}
	err       error // once it has ended
	told      bool  // it was sent a signal that has it stop
}

const patience = time.Minute // with the machine, not with the product

// startServed starts sallyport serve in dir, where its logs go, and waits until
// it serves. Whoever started it kills it.
func startServed(dir, config string, args ...string) (*served, error) {
	return startServedAs(func(*exec.Cmd) {}, dir, config, args...)
}

// startServedAs is startServed for a command that prepare has changed.
func startServedAs(prepare func(*exec.Cmd), dir, config string, args ...string) (*served, error) {
	s := &served{
		// testscript has put this test binary into the path by that name.
		cmd:   exec.Command("sallyport", append([]string{"serve", "--config", config}, args...)...),
		log:   filepath.Join(dir, "serve.log"),
		ended: make(chan struct{}),
	}
	s.cmd.Dir = dir
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GORACE=atexit_sleep_ms=0"}
	prepare(s.cmd)
	access, err := os.Create(filepath.Join(dir, "access.log"))
	if err != nil {
		return nil, err
	}
	service, err := os.Create(s.log)
	if err != nil {
		access.Close()
		return nil, err
	}
	s.cmd.Stdout = access
	pipe, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		access.Close()
		service.Close()
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		defer close(s.ended)
		defer access.Close()
		defer service.Close()
		s.follow(pipe, service, sync.OnceFunc(func() { close(ready) }))
		s.err = s.cmd.Wait()
	}()
	select {
	case <-ready:
		return s, nil
	case <-s.ended:
		err = fmt.Errorf("sallyport serve: %w", s.err)
	case <-time.After(patience):
		s.kill()
		err = fmt.Errorf("sallyport serve does not serve after %s", patience)
	}
	text, _ := os.ReadFile(s.log)
	return nil, fmt.Errorf("%w\n%s", err, text)
}

// follow copies the service log to its file and takes the addresses from it.
func (s *served) follow(from io.Reader, to io.Writer, ready func()) {
	for lines := bufio.NewScanner(from); lines.Scan(); {
		fmt.Fprintln(to, lines.Text())
		var line struct{ Msg, For, Address string }
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		switch {
		case line.Msg == "listening" && line.For == "clients":
			s.clients = line.Address
		case line.Msg == "listening" && line.For == "redirects":
			s.redirects = line.Address
		case line.Msg == "listening" && line.For == "admin":
			s.admin = line.Address
		case line.Msg == "serving":
			ready()
		}
	}
}

// pinInEnvironment puts the PIN into a variable for the serve that follows.
func (w *world) pinInEnvironment(_ *testscript.TestScript, _ bool, args []string) {
	w.environment = append(w.environment, args[0]+"="+w.token.PIN)
}

// service makes the serve that follows one of systemd's, with a socket of that
// name passed to it, and a socket for it to tell that it is ready.
func (w *world) service(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	w.passed, err = l.(*net.TCPListener).File()
	ts.Check(err)
	ts.Defer(func() { w.passed.Close() })
	dir, err := os.MkdirTemp("", "notify") // the story's folder may be too long for a socket's name
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(dir) })
	w.notified, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"})
	ts.Check(err)
	ts.Defer(func() { w.notified.Close() })
	w.environment = append(w.environment, "LISTEN_FDS=1", "LISTEN_FDNAMES="+args[0], "NOTIFY_SOCKET="+filepath.Join(dir, "s"))
}

// dress gives a serve what the story wants it to find.
func (w *world) dress(cmd *exec.Cmd) {
	cmd.Env = append(cmd.Env, w.environment...)
	if w.frugal {
		collecting(cmd)
	}
	if w.passed != nil {
		w.asService(cmd)
	}
}

// asService has a shell set LISTEN_PID, which is the number of the process.
func (w *world) asService(cmd *exec.Cmd) {
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.ExtraFiles = []*os.File{w.passed}
}

// told waits until systemd would have been told so.
func (w *world) told(ts *testscript.TestScript, want string) {
	ts.Check(w.notified.SetReadDeadline(time.Now().Add(patience)))
	text := make([]byte, 4096)
	n, err := w.notified.Read(text)
	ts.Check(err)
	if string(text[:n]) != want {
		ts.Fatalf("systemd was told %q", text[:n])
	}
}

func (s *served) kill() {
	_ = s.cmd.Process.Kill() // it may have ended already
	<-s.ended
}

// stop has it stop, and returns how it did not end well.
func (s *served) stop() error {
	if !s.told { // a second signal would end it at once
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		return errors.New("sallyport serve does not stop")
	}
	if children := s.signers(); len(children) > 0 {
		return fmt.Errorf("signer processes %v are left", children)
	}
	return s.err
}

// signers are its children.
func (s *served) signers() []int {
	var found []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(field); err == nil {
				found = append(found, child)
			}
		}
	}
	return found
}

func (w *world) serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: serve FILE [FLAG…]")
	}
	s, err := startServedAs(w.dress, w.dir, ts.MkAbs(args[0]), args[1:]...)
	ts.Check(err)
	ts.Defer(s.kill)
	w.server = s
	ts.Setenv("ADDR", s.clients)
	ts.Setenv("REDIRECT", s.redirects)
	ts.Setenv("ADMIN", s.admin)
}

func (w *world) end(ts *testscript.TestScript, neg bool, _ []string) {
	if err := w.server.stop(); (err != nil) != neg {
		ts.Fatalf("sallyport serve ended with %v", err)
	}
}

func (w *world) signal(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT}
	w.server.told = w.server.told || args[0] == "TERM" || args[0] == "INT"
	ts.Check(w.server.cmd.Process.Signal(signals[args[0]]))
}

func (w *world) signer(ts *testscript.TestScript) int {
	found := w.server.signers()
	if len(found) != 1 {
		ts.Fatalf("%d signer processes, want 1", len(found))
	}
	return found[0]
}

func (w *world) killSigner(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(syscall.Kill(w.signer(ts), syscall.SIGKILL))
}

// faulty writes a configuration that reaches the token through a module that
// fails on command.
func (w *world) faulty(ts *testscript.TestScript, _ bool, args []string) {
	f := hsmtest.NewFaulty(w.t, w.token)
	w.control = f.Control
	config := strings.Replace(ts.ReadFile("sallyport.yaml"), w.token.Module, f.Module, 1)
	config = strings.Replace(config, "environment: "+flowMap(w.token.Environment),
		"processes: 2\n      sign_timeout: 1s\n      environment: "+flowMap(f.Environment), 1)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(config), 0o600))
}

// fault replaces the faulty module's control file.
func (w *world) fault(ts *testscript.TestScript, _ bool, args []string) {
	next := w.control + ".new"
	ts.Check(os.WriteFile(next, []byte(strings.Join(args, " ")+"\n"), 0o600))
	ts.Check(os.Rename(next, w.control))
}

// hsm does something to the server of a remote token.
func (w *world) hsm(ts *testscript.TestScript, _ bool, args []string) {
	s := w.token.Server
	do, ok := map[string]func(){"kill": s.Kill, "restart": s.Restart, "stop": s.Stop, "continue": s.Continue}[args[0]]
	if !ok {
		ts.Fatalf("usage: hsm kill|restart|stop|continue")
	}
	do()
}

// memory compares the serving process's peak memory with an earlier mark, or has the
// process that is started next collect its garbage early.
func (w *world) memory(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "frugal" {
		w.frugal = true
		return
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.server.cmd.Process.Pid))
	ts.Check(err)
	var peak int64
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, err := fmt.Sscan(value, &peak)
			ts.Check(err)
		}
	}
	switch args[0] {
	case "mark":
		w.peak = peak
	case "flat":
		const most = 32 << 10
		ts.Logf("peak memory grew by %d KiB", peak-w.peak)
		if w.peak == 0 || peak-w.peak > most {
			ts.Fatalf("peak memory grew from %d KiB to %d KiB", w.peak, peak)
		}
	}
}

// separate shows that the serving process has neither the vendor's library nor
// the PIN, and that the signer process has what it needs, is closed to its
// peers, and knows nothing else.
func (w *world) separate(ts *testscript.TestScript, _ bool, _ []string) {
	serving, signer := w.server.cmd.Process.Pid, w.signer(ts)
	read := func(pid int, name string) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		ts.Check(err)
		return string(b)
	}
	for _, name := range []string{"environ", "cmdline"} {
		if strings.Contains(read(serving, name), w.token.PIN) {
			ts.Fatalf("the PIN is in %s of the serving process", name)
		}
	}
	if strings.Contains(read(signer, "cmdline"), w.token.PIN) {
		ts.Fatalf("the PIN is in the signer process's command line")
	}
	module, err := filepath.EvalSymlinks(w.token.Module)
	ts.Check(err)
	if strings.Contains(read(serving, "maps"), module) {
		ts.Fatalf("the serving process maps the module")
	}
	for _, pid := range []int{serving, signer} {
		if limits := read(pid, "limits"); !hasLimit(limits, "Max core file size", "0") {
			ts.Fatalf("process %d may dump core:\n%s", pid, limits)
		}
	}
	for name := range w.token.Environment {
		if name == "GORACE" {
			continue // it is for the race detector, and the stories give it to both
		}
		if strings.Contains(read(serving, "environ"), name) {
			ts.Fatalf("the serving process has the vendor's environment")
		}
	}
	if os.Geteuid() == 0 {
		if !strings.Contains(read(signer, "maps"), module) {
			ts.Fatalf("the signer process does not map the module: this test would see nothing")
		}
		environment := read(signer, "environ")
		for name, value := range w.token.Environment {
			if !strings.Contains(environment, name+"="+value) || strings.Contains(environment, w.token.PIN) {
				ts.Fatalf("the signer process's environment: %q", environment)
			}
		}
	} else if _, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", signer)); !errors.Is(err, os.ErrPermission) {
		ts.Fatalf("another process of the same user can look into the signer process: %v", err)
	}
	threads := func(pid int) (all []int) {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		ts.Check(err)
		for _, e := range entries {
			thread, err := strconv.Atoi(e.Name())
			ts.Check(err)
			all = append(all, thread)
		}
		return all
	}
	for _, thread := range threads(signer) {
		if status := read(thread, "status"); !strings.Contains(status, "NoNewPrivs:\t1") {
			ts.Fatalf("thread %d of the signer process may gain privileges", thread)
		}
	}
	if os.Geteuid() == 0 { // nobody else may see it
		for _, thread := range append(threads(signer), threads(serving)...) {
			if got := strings.TrimSpace(read(thread, "timerslack_ns")); got != strconv.FormatInt(timerSlack.Nanoseconds(), 10) {
				ts.Fatalf("thread %d has a timer slack of %s ns", thread, got)
			}
		}
	}
	if n := memoryHolds(ts, serving, w.token.PIN); n > 0 {
		ts.Fatalf("the PIN is in the serving process's memory, %d times", n)
	}
}

// hasLimit says whether the soft limit of that name has the value.
func hasLimit(limits, name, value string) bool {
	for line := range strings.Lines(limits) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.Fields(rest)[0] == value
		}
	}
	return false
}

// memoryHolds counts a text in all memory of a process that can be read.
func memoryHolds(ts *testscript.TestScript, pid int, text string) int {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	ts.Check(err)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	ts.Check(err)
	defer mem.Close()
	found, looked := 0, 0
	buf := make([]byte, 1<<20)
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		// Steps overlap, so that a text on the border is seen.
		for at := from; at < to; at += int64(len(buf) - len(text)) {
			n, _ := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			looked += n
			found += strings.Count(string(buf[:n]), text)
			if n < len(buf) {
				break
			}
		}
	}
	if looked < 1<<20 {
		ts.Fatalf("only %d bytes of memory could be read", looked)
	}
	return found
}
