package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/hsm/hsmtest"
)

// setup is how many tokens and processes a rig has.
type setup struct {
	name      string
	processes int
	spare     bool // a second token serves the site as well, with its own key and certificate
}

// rig is a sallyport serve with traffic, whose token "edge" fails on command.
type rig struct {
	t *testing.T
	setup
	faulty  *hsmtest.Faulty
	pinFile string // of the token "edge"
	config  string
	server  *served
	load    *load
}

// newRig makes one, with a sign timeout; "" is the product's own.
func newRig(t *testing.T, s setup, signTimeout string) *rig {
	dir := t.TempDir()
	edge := hsmtest.NewSoftHSM(t)
	edge.GenerateKey("edge", "11", "EC:prime256v1")
	edge.WriteCertificate("edge", "11", edge.Issue(edge.Public("edge", "11"), nil))
	r := &rig{t: t, setup: s, faulty: hsmtest.NewFaulty(t, edge), pinFile: edge.PINFile}
	if signTimeout != "" {
		signTimeout = "sign_timeout: " + signTimeout + ", "
	}
	const token = "    - {name: %s, module: %q, token: edge, pin: %q, processes: %d, sessions: %d, %senvironment: %s}\n"
	tokens := fmt.Sprintf(token, "edge", r.faulty.Module, "file:"+edge.PINFile, s.processes, rigSessions, signTimeout, flowMap(r.faulty.Environment))
	certificates, dirs := `{key: "pkcs11:object=edge"}`, []string{edge.Dir}
	if s.spare {
		// ECDSA goes before RSA, so the token that fails is used as long as it can be.
		spare := hsmtest.NewSoftHSM(t)
		spare.GenerateKey("spare", "12", "rsa:2048")
		spare.WriteCertificate("spare", "12", spare.Issue(spare.Public("spare", "12"), nil))
		tokens += fmt.Sprintf(token, "spare", spare.Module, "file:"+spare.PINFile, 1, rigSessions, "", flowMap(spare.Environment))
		certificates += `, {key: "pkcs11:object=spare"}`
		dirs = append(dirs, spare.Dir)
	}
	short, err := os.MkdirTemp("", "rig") // a test's own folder may be too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	config := fmt.Sprintf(rigConfig, tokens, certificates, newTestBackend(t, "backend-1").address, filepath.Join(short, "admin.sock"))
	r.config = filepath.Join(dir, "sallyport.yaml")
	if err := os.WriteFile(r.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	roots, err := rootsOf(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	if r.server, err = startServed(dir, r.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.server.kill()
		if t.Failed() {
			text, _ := os.ReadFile(r.server.log)
			t.Logf("service log:\n%s", text)
		}
	})
	r.load = startLoad(r.server.clients, roots, 3, 5*time.Millisecond)
	t.Cleanup(r.load.stop)
	return r
}

// rigSessions are the sessions of each process.
const rigSessions = 8

const rigConfig = `hsm:
  tokens:
%slisteners:
  - address: 127.0.0.1:0
sites:
  - name: ec
    hosts: [ec.sallyport.test]
    certificates: [%s]
    routes: [{path: /, pool: web}]
pools:
  - name: web
    backends: [{address: "%s"}]
admin:
  address: 127.0.0.1:0
  socket: %s
`

// until waits for a condition.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not so after %s: %s", patience, what)
		}
	}
}

// each waits until all ways have had some successes more in tallies.
func (r *rig) each(some int64, in tallies) {
	r.t.Helper()
	for _, way := range ways {
		r.until(fmt.Sprintf("%s traffic gets through", way), func() bool { return in[way].good.Load() >= some })
	}
}

// change is one of a token's state.
type change struct {
	Time            time.Time
	Msg, Token      string
	From, To        string
	Reason, Mistake string
}

// changes are those of the token "edge", as the service log tells of them.
func (r *rig) changes() []change {
	r.t.Helper()
	text, err := os.ReadFile(r.server.log)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []change
	for line := range strings.Lines(string(text)) {
		var c change
		if json.Unmarshal([]byte(line), &c) == nil && c.Msg == "token state changed" && c.Token == "edge" {
			all = append(all, c)
		}
	}
	return all
}

// since is when the token's state first changed after a moment.
func (r *rig) since(moment time.Time) (at time.Time, changed bool) {
	for _, c := range r.changes() {
		if c.Time.After(moment) {
			return c.Time, true
		}
	}
	return at, false
}

// state is what the token "edge" has come to.
func (r *rig) state() (string, time.Time) {
	all := r.changes()
	if len(all) == 0 {
		return "", time.Time{}
	}
	last := all[len(all)-1]
	return last.To, last.Time
}

// whole says whether the token is up, and each of its processes there and no other.
func (r *rig) whole() bool {
	state, _ := r.state()
	total := r.processes
	if r.spare {
		total++
	}
	return state == "up" && len(r.faulty.Processes()) == r.processes && len(r.server.signers()) == total
}

// kill sends a signal to n of the token's processes.
func (r *rig) kill(n int, s syscall.Signal) {
	pids := r.faulty.Processes()
	for _, pid := range pids[:min(n, len(pids))] {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			r.t.Error(err)
		}
	}
}
