package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/hsm/hsmtest"
)

// TestServe_LogsThatNobodyReads has whoever reads the logs stand still, or go away. The
// service answers on by both protocols, and stops cleanly.
func TestServe_LogsThatNobodyReads(t *testing.T) {
	t.Parallel()
	token := hsmtest.NewSoftHSM(t)
	token.GenerateKey("edge", "11", "EC:prime256v1")
	token.WriteCertificate("edge", "11", token.Issue(token.Public("edge", "11"), nil))
	roots, err := rootsOf(token.Dir)
	if err != nil {
		t.Fatal(err)
	}
	config := pipedConfig(t, token, `  - {name: ec, hosts: [ec.sallyport.test], certificates: [{key: "pkcs11:object=edge"}], routes: [{pool: web}]}`)
	for _, tc := range []struct {
		name   string
		shared bool // both logs go to one pipe
		gone   bool
	}{
		{name: "the readers stand still"},
		{name: "the reader of both stands still", shared: true},
		{name: "the readers go away", gone: true},
		{name: "the reader of both goes away", shared: true, gone: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := startPiped(t, config, tc.shared)
			s.serving(t)
			if tc.gone {
				s.service.Close()
				s.access.Close()
			}
			const requests = 100 // whose lines are ten times what a pipe holds
			c := &client{address: s.clients, config: &tls.Config{RootCAs: roots, ServerName: "ec.sallyport.test"}}
			defer c.close()
			h2 := clientOf(s.clients, c.config.Clone())
			h2.Transport.(*http.Transport).ForceAttemptHTTP2 = true
			for i := range requests / 2 {
				if err := c.get(context.Background()); err != nil {
					t.Fatalf("request %d: %v", i, err)
				}
				res, err := h2.Get("https://ec.sallyport.test/hello")
				if err != nil {
					t.Fatalf("request %d by HTTP/2: %v", i, err)
				}
				if readAll(res); res.ProtoMajor != 2 || res.StatusCode != 200 {
					t.Fatalf("request %d by HTTP/2: %s %s", i, res.Proto, res.Status)
				}
			}
			if tc.gone {
				dropped := fmt.Sprintf(`sallyport_log_lines_dropped_total{log="access"} %d`, requests)
				for deadline := time.Now().Add(patience); !strings.Contains(s.metrics(t), dropped); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("not counted: %s in\n%s", dropped, s.metrics(t))
					}
				}
			} else {
				// Nothing was lost yet: it has waited.
				s.lines(t, s.access, requests, `"msg":"request"`)
			}
			s.stop(t)
		})
	}
}

// piped is a sallyport serve whose logs go to pipes that hold little.
type piped struct {
	cmd             *exec.Cmd
	service, access *os.File // where they are read; the same if they share one
	reader          map[*os.File]*bufio.Reader
	clients, admin  string
}

// pipedConfig writes a configuration with a token, a backend, and sites.
func pipedConfig(t *testing.T, token *hsmtest.Token, sites string) string {
	config := filepath.Join(t.TempDir(), "sallyport.yaml")
	text := fmt.Sprintf(`hsm:
  tokens:
    - {name: edge, module: %q, token: edge, pin: %q, environment: %s}
listeners:
  - address: 127.0.0.1:0
sites:
%s
pools:
  - name: web
    backends: [{address: "%s"}]
admin:
  address: 127.0.0.1:0
`, token.Module, "file:"+token.PINFile, flowMap(token.Environment), sites, newTestBackend(t, "backend-1").address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// startPiped starts one.
func startPiped(t *testing.T, config string, shared bool) *piped {
	p := &piped{cmd: exec.Command("sallyport", "serve", "--config", config), reader: map[*os.File]*bufio.Reader{}}
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}
	pipe := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		if err := control(w, func(fd uintptr) error {
			_, err := unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 4096)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		p.reader[r] = bufio.NewReader(r)
		return r, w
	}
	var out, errs *os.File
	p.service, errs = pipe()
	p.access, out = p.service, errs
	if !shared {
		p.access, out = pipe()
	}
	p.cmd.Stdout, p.cmd.Stderr = out, errs
	err := p.cmd.Start()
	out.Close()
	errs.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()
	})
	return p
}

// serving reads the service log until it serves, and no further.
func (p *piped) serving(t *testing.T) {
	t.Helper()
	s := &served{}
	serving := false
	s.follow(until{p.reader[p.service], &serving}, io.Discard, func() { serving = true })
	if !serving {
		t.Fatal("it does not serve")
	}
	p.clients, p.admin = s.clients, s.admin
}

// until is a reader of whole lines that ends when done says so.
type until struct {
	*bufio.Reader
	done *bool
}

func (u until) Read(b []byte) (int, error) {
	if *u.done {
		return 0, io.EOF
	}
	line, err := u.ReadSlice('\n')
	return copy(b, line), err
}

// control runs f on a file's descriptor, which stays as it is.
func control(f *os.File, do func(fd uintptr) error) (err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if failed := c.Control(func(fd uintptr) { err = do(fd) }); failed != nil {
		return failed
	}
	return err
}

// lines reads until so many lines with the text were read.
func (p *piped) lines(t *testing.T, from *os.File, want int, text string) {
	t.Helper()
	if err := from.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < want; {
		line, err := p.reader[from].ReadString('\n')
		if err != nil {
			t.Fatalf("%d lines of %d: %v", n, want, err)
		}
		if strings.Contains(line, text) {
			n++
		}
	}
}

func (p *piped) metrics(t *testing.T) string {
	t.Helper()
	res, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return readAll(res)
}

// stop has it stop, which must end well though nobody may read.
func (p *piped) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// wait waits for its end.
func (p *piped) wait() error {
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	return p.cmd.Wait()
}

// TestServe_LastLinesAreWritten has a configuration that cannot be served. All its
// problems are said, more than a pipe holds, to who reads; nobody else is waited for.
func TestServe_LastLinesAreWritten(t *testing.T) {
	t.Parallel()
	var problems strings.Builder
	const sites = 40
	for i := range sites {
		fmt.Fprintf(&problems, "  - {name: s%d, hosts: [s%[1]d.example], certificates: [{key: \"pkcs11:object=missing-%[1]d\"}], routes: [{pool: web}]}\n", i)
	}
	config := pipedConfig(t, hsmtest.NewSoftHSM(t), problems.String())
	for _, reads := range []bool{true, false} {
		t.Run(fmt.Sprintf("read: %t", reads), func(t *testing.T) {
			t.Parallel()
			p := startPiped(t, config, true)
			var text string
			if reads {
				b, err := io.ReadAll(p.service)
				if err != nil {
					t.Fatal(err)
				}
				text = string(b)
			}
			err := p.wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != exitFailure {
				t.Errorf("it ended with %v", err)
			}
			for i := 0; i < sites && reads; i++ {
				if want := fmt.Sprintf("error: %s: sites[%d].certificates[0].key: ", config, i); strings.Count(text, want) != 1 {
					t.Errorf("missing, or twice: %s\n%s", want, text)
				}
			}
		})
	}
}
