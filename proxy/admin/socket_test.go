package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func listen(t testing.TB, path string) *Socket {
	t.Helper()
	s, err := ListenSocket(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// over returns a client whose requests all go to the socket.
func over(path string) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
}

// serveSocket runs an admin server on a socket until the test ends.
func serveSocket(t testing.TB, c Config) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "admin.sock")
	c.Listener = listen(t, path)
	run(t, c)
	return path
}

func TestSocket_IsItsOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	s := listen(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	s.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left behind: %v", err)
	}
}

func TestSocket_ReplacesADeadOneAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "admin.sock")
	dead := listen(t, path)
	dead.SetUnlinkOnClose(false)
	dead.Close()
	listen(t, path)
	if _, err := ListenSocket(path, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second one: %v", err)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first one is gone: %v", err)
	} else {
		conn.Close()
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                               "exists and is not a socket",
		filepath.Join(dir, "nowhere", "s"): "no such file",
		filepath.Join(dir, strings.Repeat("x", 120)): "longer than the 107 bytes",
	} {
		if _, err := ListenSocket(path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestSocket_OthersMayNotAsk(t *testing.T) {
	for _, c := range []struct {
		uid  uint32
		self int
		want bool
	}{{0, 0, true}, {0, 990, true}, {990, 990, true}, {991, 990, false}, {990, 0, false}, {1<<32 - 1, -1, false}} {
		if got := mayAsk(c.uid, c.self); got != c.want {
			t.Errorf("uid %d at a service of %d: %v", c.uid, c.self, got)
		}
	}
}

// asNobody is set in the test binary when it runs as another user, with the
// socket to ask.
const asNobody = "SALLYPORT_TEST_SOCKET"

// askAsNobody prints whether the socket answers.
func askAsNobody(path string) {
	r, _ := http.NewRequest("GET", "http://localhost/healthz", nil)
	answer, err := over(path).RoundTrip(r)
	if err != nil {
		os.Stdout.WriteString("no answer: " + err.Error())
		return
	}
	os.Stdout.WriteString("answer: " + answer.Status)
}

// Whoever can change the mode of the socket, or reach it all the same, is still
// looked at. Only root can be somebody else, so this shows it for root alone.
func TestSocket_RefusesAnotherUser(t *testing.T) {
	ask := func(path string) string {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{asNobody + "=" + path}
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	dir, err := os.MkdirTemp("", "sallyport") // not t.TempDir, which others cannot enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "admin.sock")
	run(t, Config{Listener: listen(t, path)})
	if os.Geteuid() != 0 {
		if got := ask(path); got != "answer: 200 OK" {
			t.Errorf("the service's own user: %s", got)
		}
		return
	}
	if got := ask(path); !strings.Contains(got, "permission denied") {
		t.Errorf("mode 0600: %s", got)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := ask(path); !strings.HasPrefix(got, "no answer: ") || strings.Contains(got, "permission denied") {
		t.Errorf("mode 0666: %s", got)
	}
}

func post(t testing.TB, path, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("POST", "http://localhost"+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := over(path).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

type hinted struct{ error }

func (hinted) Hint() string { return "mend it" }

func TestControl_IsOnTheSocketAlone(t *testing.T) {
	c := &Control{
		Rescan: func(context.Context) (Rescan, error) { return Rescan{Changes: []string{"one"}}, nil },
		Unlock: func(_ context.Context, name string) error {
			switch name {
			case "edge":
				return nil
			case "up":
				return hinted{errors.New("not locked")}
			}
			return ErrNoToken
		},
	}
	path := serveSocket(t, Config{Control: c})
	if code, body := post(t, path, "/rescan"); code != 200 || !strings.Contains(body, `"one"`) {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := post(t, path, "/tokens/edge/unlock"); code != 200 {
		t.Errorf("unlock: %d", code)
	}
	code, body := post(t, path, "/tokens/up/unlock")
	var refused Refusal
	if err := json.Unmarshal([]byte(body), &refused); err != nil || code != 409 || refused != (Refusal{"not locked", "mend it"}) {
		t.Errorf("%d %s (%v)", code, body, err)
	}
	if code, _ := post(t, path, "/tokens/nowhere/unlock"); code != 404 {
		t.Errorf("an unknown token: %d", code)
	}
	for _, url := range []string{"/healthz", "/metrics", "/status"} {
		if code, _ := post(t, path, url); code == 200 {
			t.Errorf("POST %s: %d", url, code)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := New(Config{Listener: l, Control: c}); err == nil {
		t.Error("a TCP listener was given what changes something")
	}
	base := start(t, Config{})
	for _, url := range []string{"/rescan", "/tokens/edge/unlock"} {
		if code, _ := ask(t, "POST", base+url, ""); code != 405 {
			t.Errorf("POST %s on TCP: %d", url, code)
		}
		if code, _ := ask(t, "GET", base+url, ""); code != 404 {
			t.Errorf("GET %s on TCP: %d", url, code)
		}
	}
}

// A call may take longer than a page, and ends when its client gives up.
func TestControl_WaitsAsLongAsItsClient(t *testing.T) {
	const most = 100 * time.Millisecond // for a page
	ended := make(chan struct{})
	path := filepath.Join(t.TempDir(), "admin.sock")
	runWith(t, Config{Listener: listen(t, path), Control: &Control{
		Rescan: func(ctx context.Context) (Rescan, error) {
			<-ctx.Done()
			close(ended)
			return Rescan{}, ctx.Err()
		},
		Unlock: func(context.Context, string) error { time.Sleep(2 * most); return nil },
	}}, func(s *Server) { s.http.WriteTimeout = most })
	if code, body := post(t, path, "/tokens/edge/unlock"); code != 200 {
		t.Errorf("a long call: %d %s", code, body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", "http://localhost/rescan", nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := over(path).RoundTrip(r); err == nil {
		answer.Body.Close()
		t.Error("it answered")
	}
	<-ended
}

func TestStatus_IsOnBoth(t *testing.T) {
	c := Config{Status: func() Status { return Status{Version: "1.2.3"} }}
	if code, body := ask(t, "GET", start(t, c)+"/status", ""); code != 200 || !strings.Contains(body, `"version": "1.2.3"`) {
		t.Errorf("TCP: %d %s", code, body)
	}
	path := serveSocket(t, c)
	r, _ := http.NewRequest("GET", "http://localhost/status", nil)
	answer, err := over(path).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got Status
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || got.Version != "1.2.3" {
		t.Errorf("socket: %+v, %v", got, err)
	}
}
