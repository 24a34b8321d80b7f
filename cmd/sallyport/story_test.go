package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sallyport/hsm/hsmtest"
)

// The test binary is also the sallyport of the stories, and so its own signer
// process; and the attackers.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "sallyport" {
		gatherAssaults()
	}
	testscript.Main(m, map[string]func(){
		"sallyport": func() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) },
		"adversary": adversaryMain,
	})
}

// TestStories runs testdata/script/*.txt on a token of the vendor that
// $HSMTEST_VENDOR names.
func TestStories(t *testing.T) { runStories(t, "script", hsmtest.New) }

// TestStories_SoftHSM runs testdata/softhsm/*.txt, which need what only SoftHSM has.
func TestStories_SoftHSM(t *testing.T) { runStories(t, "softhsm", hsmtest.NewSoftHSM) }

// TestStories_Remote runs testdata/remote/*.txt on a token behind a server.
func TestStories_Remote(t *testing.T) { runStories(t, "remote", hsmtest.NewRemote) }

// runStories runs a folder's stories, each on a token and real backends of its
// own. Beside testscript's commands they have
//
//	serve FILE            start sallyport serve; sets $ADDR, $REDIRECT and $ADMIN; logs in serve.log, access.log
//	end                   SIGTERM, and the exit code must be 0
//	signal SIG            send a signal to the serving process
//	killsigner            SIGKILL the signer process
//	p11 ARGS…             pkcs11-tool on the token, logged in
//	issue KEY ID FILE [CHANGE]  a certificate for a key in the token: expired, client, future;
//	                      also as FILE.der; sets $SERIAL
//	traffic start|more|stop [WAY…]  requests all the time on open connections ("open") and on new
//	                      ones that resume or not ("resumed", "full"); more waits until those named,
//	                      or all, get through; after stop none of the ways named may have lost any
//	websocket URL         echo through a WebSocket
//	memory mark|flat      peak memory of the serving process: at most 32 MiB above the mark
//	memory frugal         the next process collects its garbage early
//	pin-in VARIABLE       the PIN is in the environment of the serve that follows
//	as-service NAME       systemd's variables too, with a socket of that name
//	told-ready            wait until systemd would know that it serves
//	told-stopping         likewise that it stops, and how long it may take
//	separate              the serving process has neither the library nor the PIN
//	faulty FILE           a configuration with two processes on the token as a faulty module
//	fault [LINE WORD…]    what its control file says from now on
//	hsm kill|restart|stop|continue  the server of a remote token; its calls hang while it is stopped
//	secrets FILE…         none of the files shows the PIN
//	wait-for FILE TEXT    until the file has the text
//
// and curl, made to find the test's names. $ROOT is the repository. The backends are at $BACKEND1 and
// $BACKEND2, $HTTP1 is one that speaks no HTTP/2, and $DOWN is an address where nothing listens.
// $MODULE is the token's library, $ENV the --env flags that it needs, and $HSM the folder of the
// token's files.
func runStories(t *testing.T, folder string, token func(testing.TB) *hsmtest.Token) {
	refuseHalfStories(t, folder)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", folder),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			t := e.T().(testing.TB)
			w := newWorld(t, e, token(t))
			e.Values[worldKey{}] = w
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":      func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).serve(ts, neg, args) },
			"end":        func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).end(ts, neg, args) },
			"signal":     func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).signal(ts, neg, args) },
			"killsigner": func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).killSigner(ts, neg, args) },
			"p11":        func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).p11(ts, neg, args) },
			"issue":      func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).issue(ts, neg, args) },
			"faulty":     func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).faulty(ts, neg, args) },
			"fault":      func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).fault(ts, neg, args) },
			"hsm":        func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).hsm(ts, neg, args) },
			"traffic":    func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).traffic(ts, neg, args) },
			"websocket":  func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).webSocket(ts, neg, args) },
			"memory":     func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).memory(ts, neg, args) },
			"pin-in": func(ts *testscript.TestScript, neg bool, args []string) {
				worldOf(ts).pinInEnvironment(ts, neg, args)
			},
			"as-service": func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).service(ts, neg, args) },
			"told-ready": func(ts *testscript.TestScript, _ bool, _ []string) { worldOf(ts).told(ts, "READY=1\nSTATUS=serving") },
			"told-stopping": func(ts *testscript.TestScript, _ bool, _ []string) {
				worldOf(ts).told(ts, "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000")
			},
			"separate": func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).separate(ts, neg, args) },
			"secrets":  func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).secrets(ts, neg, args) },
			"wait-for": func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).waitFor(ts, neg, args) },
			"curl":     func(ts *testscript.TestScript, neg bool, args []string) { worldOf(ts).curl(ts, neg, args) },
		},
	})
}

// refuseHalfStories finds stories that would pass without being told to their end.
func refuseHalfStories(t *testing.T, folder string) {
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories in %s: %v", folder, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`(?m)^stop\b`).Match(text) {
			t.Errorf("%s: stop is testscript's own, and ends a story early", file)
		}
	}
}

type worldKey struct{}

// world is what a story happens in.
type world struct {
	t        testing.TB
	token    *hsmtest.Token
	control  string // of the faulty module
	backends []*testBackend
	dir      string

	environment []string // of the serve that follows, beside the usual
	passed      *os.File // a socket for it
	notified    *net.UnixConn

	server *served
	load   *load
	peak   int64 // memory mark, in KiB
	frugal bool  // serve collects its garbage early
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// newWorld gives the story a token, two backends, and a configuration
// sallyport.yaml that serves both keys over both.
func newWorld(t testing.TB, e *testscript.Env, token *hsmtest.Token) *world {
	w := &world{t: t, token: token, dir: e.WorkDir}
	for _, name := range []string{"backend-1", "backend-2"} {
		w.backends = append(w.backends, newTestBackend(t, name))
	}
	e.Setenv("BACKEND1", w.backends[0].address)
	e.Setenv("BACKEND2", w.backends[1].address)
	e.Setenv("DOWN", closedAddress(t))
	e.Setenv("HTTP1", newPlainBackend(t))
	e.Setenv("MODULE", w.token.Module)
	e.Setenv("HSM", w.token.Dir)
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	e.Setenv("ROOT", root)
	var flags []string
	for name, value := range w.token.Environment {
		flags = append(flags, "--env "+name+"="+value)
		e.Setenv(name, "") // what is set here must not be what the signer sees
	}
	e.Setenv("ENV", strings.Join(flags, " "))
	e.Setenv("CA", filepath.Join(w.token.Dir, "ca.pem"))
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("GORACE", "atexit_sleep_ms=0") // else each command takes a second to end
	e.Setenv("PATH", e.Getenv("PATH")+string(os.PathListSeparator)+os.Getenv("PATH"))

	base := strings.NewReplacer(
		"$MODULE", w.token.Module, "$ENVIRONMENT", flowMap(w.token.Environment), "$HSM", w.token.Dir,
		"$BACKEND1", w.backends[0].address, "$BACKEND2", w.backends[1].address,
	).Replace(baseConfig)
	if err := os.WriteFile(filepath.Join(e.WorkDir, "sallyport.yaml"), []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// flowMap is a map in YAML, on one line.
func flowMap(m map[string]string) string {
	var entries []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		entries = append(entries, fmt.Sprintf("%s: %q", name, m[name]))
	}
	return "{" + strings.Join(entries, ", ") + "}"
}

const baseConfig = `hsm:
  tokens:
    - name: edge
      module: $MODULE
      token: edge
      pin: file:$HSM/edge.pin
      environment: $ENVIRONMENT
listeners:
  - address: 127.0.0.1:0
sites:
  - name: ec
    hosts: [ec.sallyport.test]
    certificates: [{key: "pkcs11:token=edge;object=ec"}]
    routes: [{path: /, pool: web}]
  - name: rsa
    hosts: [rsa.sallyport.test]
    certificates: [{key: "pkcs11:token=edge;object=rsa", chain: $HSM/rsa.pem}]
    routes: [{path: /, pool: web}]
pools:
  - name: web
    backends: [{address: "$BACKEND1"}, {address: "$BACKEND2"}]
admin:
  address: 127.0.0.1:0
`
