package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/template"
	"time"

	"github.com/spf13/cobra"
)

// demoFlags are the flags of demo.
type demoFlags struct {
	dir   string
	check bool
}

func demoCommand() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run Sallyport on a SoftHSM token with two sample backends",
		Long: `Demo runs the whole chain on this machine: two sample backends, and a
sallyport serve with the SoftHSM token that scripts/softhsm-init.sh has made in
the folder --dir. It runs until Ctrl-C. With --check it makes requests itself,
over both protocols and with both keys, says what it saw, and exits.

scripts/demo.sh makes the token first.`,
		Example: "  scripts/softhsm-init.sh demo && sallyport demo --dir demo",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return runDemo(ctx, f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.dir, "dir", "demo", "the folder that scripts/softhsm-init.sh has filled")
	c.Flags().BoolVar(&f.check, "check", false, "make requests, say what was seen, and exit")
	return c
}

// demoPlan is what the demonstration's configuration is made of.
type demoPlan struct {
	Listener, Admin string
	Module          string
	Backends        []string
}

//go:embed demo.yaml
var demoTemplate string

const (
	demoListener = "127.0.0.1:8443"
	demoAdmin    = "127.0.0.1:9180"
	anyPort      = "127.0.0.1:0"
)

func runDemo(ctx context.Context, f demoFlags, stdout, stderr io.Writer) (err error) {
	plan := demoPlan{Listener: demoListener, Admin: demoAdmin}
	backendAddress := []string{"127.0.0.1:9001", "127.0.0.1:9002"}
	if f.check {
		plan.Listener, plan.Admin = anyPort, anyPort
		backendAddress = []string{anyPort, anyPort}
	}
	if plan.Module, err = softHSM(f.dir); err != nil {
		return err
	}
	for i, address := range backendAddress {
		b, err := startSampleBackend(fmt.Sprintf("backend-%d", i+1), address)
		if err != nil {
			return err
		}
		defer b.stop()
		plan.Backends = append(plan.Backends, b.address)
	}
	config := filepath.Join(f.dir, "demo.yaml")
	if err := plan.write(config); err != nil {
		return err
	}
	s, err := startDemoServer(config, stdout, stderr, f.check)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.waitReady(ctx); err != nil {
		return err
	}
	if f.check {
		c, err := newDemoClient(f.dir, s, stdout)
		if err != nil {
			return err
		}
		return c.check(ctx)
	}
	fmt.Fprintf(stdout, `
Sallyport runs with the configuration %[1]s. Try it:

  curl -v --cacert '%[2]s' --connect-to ::%[3]s https://ec.sallyport.test/
  curl -v --cacert '%[2]s' --connect-to ::%[3]s --http1.1 --tls-max 1.2 https://rsa.sallyport.test/
  curl -s http://%[4]s/metrics | grep sallyport_signatures_total

Ctrl-C ends it.

`, config, filepath.Join(f.dir, "ca.pem"), s.clients, s.admin)
	select {
	case <-ctx.Done():
		return nil
	case <-s.ended:
		return errors.New("sallyport serve ended by itself; its log above says why")
	}
}

// softHSM finds the token's library, and says what is missing.
func softHSM(dir string) (module string, err error) {
	if _, err := os.Stat(filepath.Join(dir, "softhsm2.conf")); err != nil {
		return "", hint(fmt.Errorf("%s holds no SoftHSM token", dir), "make one: scripts/softhsm-init.sh "+dir)
	}
	for _, pattern := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/lib64/libsofthsm2.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0], nil
		}
	}
	return "", hint(errors.New("SoftHSM is not installed"), "Debian: apt-get install softhsm2")
}

func (p demoPlan) write(path string) error {
	t, err := template.New("demo.yaml").Parse(demoTemplate)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// demoServer is a sallyport serve in a process of its own: the real thing.
type demoServer struct {
	cmd            *exec.Cmd
	clients, admin string        // where it listens, once ready
	ready          chan struct{} // closed when it serves
	ended          chan struct{} // closed when it has exited
	err            error         // its exit; set before ended is closed
	output         bytes.Buffer  // its log, while quiet
}

// startDemoServer starts it. Quiet keeps its logs to itself unless it fails.
func startDemoServer(config string, stdout, stderr io.Writer, quiet bool) (*demoServer, error) {
	s := &demoServer{
		cmd:   exec.Command("/proc/self/exe", "serve", "--config", config),
		ready: make(chan struct{}), ended: make(chan struct{}),
	}
	s.cmd.Args[0] = "sallyport"
	s.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // Ctrl-C comes to demo, which passes a stop on
		Pdeathsig: syscall.SIGTERM,
	}
	var log io.Writer = &s.output
	if !quiet {
		s.cmd.Stdout, log = stdout, stderr
	}
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.ended)
		s.follow(pipe, log)
		s.err = s.cmd.Wait()
	}()
	return s, nil
}

// follow copies the server's log and learns from it where it listens.
func (s *demoServer) follow(from io.Reader, to io.Writer) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		fmt.Fprintln(to, lines.Text())
		var line struct{ Msg, For, Address string }
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		switch {
		case line.Msg == "listening" && line.For == "clients":
			s.clients = line.Address
		case line.Msg == "listening" && line.For == "admin":
			s.admin = line.Address
		case line.Msg == "serving":
			close(s.ready)
		}
	}
}

func (s *demoServer) waitReady(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-s.ended:
		return fmt.Errorf("sallyport serve did not start:\n%s", s.output.String())
	case <-ctx.Done():
		return errors.New("interrupted")
	case <-time.After(time.Minute):
		return errors.New("sallyport serve did not start within a minute")
	}
}

// stop lets the server finish, as systemd would.
func (s *demoServer) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.ended:
		return s.err
	case <-time.After(time.Minute):
		_ = s.cmd.Process.Kill()
		<-s.ended
		return errors.New("sallyport serve did not stop within a minute")
	}
}

// hosts of the demonstration, one for each key of the token.
var demoHosts = []string{"ec.sallyport.test", "rsa.sallyport.test"}

// connectTo dials the server whatever name was asked for.
func (s *demoServer) connectTo(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.clients)
}
