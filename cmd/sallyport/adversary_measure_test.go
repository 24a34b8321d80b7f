package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/hsm/hsmtest"
)

// stronghold is what is attacked: a token and a backend, with a sallyport serve
// of its own for each attack.
type stronghold struct {
	config string
	roots  *x509.CertPool
}

const strongholdConfig = `hsm:
  tokens:
    - {name: edge, module: %q, token: edge, pin: %q, environment: %s}
listeners:
  - address: 127.0.0.1:0
    limits: {connections: %d}
sites:
  - name: ec
    hosts: [ec.sallyport.test]
    certificates: [{key: "pkcs11:object=edge"}]
    routes: [%s]
pools:
  - name: web
    backends: [{address: "%s"}]
admin:
  address: 127.0.0.1:0
limits:
  memory: 512MiB
`

// shortMemory is the budget for clients under the attacks that multiply what they send, by
// streams or by work: it is short there. Those that only open many connections have the
// other one, since each such connection is paid for.
// It is the least that can be configured, so that what attackers send in all is more than
// a hundredth of it.
const shortMemory = "8MiB"

// isShortOf says whether an attack is made against the short budget.
func isShortOf(name string) bool {
	_, works := floods[name]
	return works || strings.HasPrefix(name, "h2-")
}

func newStronghold(t *testing.T, connections int) *stronghold {
	token := hsmtest.NewSoftHSM(t)
	token.GenerateKey("edge", "11", "EC:prime256v1")
	token.WriteCertificate("edge", "11", token.Issue(token.Public("edge", "11"), nil))
	var routes []string
	for _, path := range []string{"/hello", "/sink", "/source", "/never", "/stall", "/echo"} {
		routes = append(routes, fmt.Sprintf("{path: %s, pool: web}", path))
	}
	s := &stronghold{config: filepath.Join(t.TempDir(), "sallyport.yaml")}
	config := fmt.Sprintf(strongholdConfig, token.Module, "file:"+token.PINFile, flowMap(token.Environment), connections,
		strings.Join(routes, ", "), newTestBackend(t, "backend-1").address)
	if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.roots, err = rootsOf(token.Dir); err != nil {
		t.Fatal(err)
	}
	return s
}

// spent is what the server has spent, at a moment or at most.
type spent struct {
	cpu    time.Duration // of the serving process and its signers
	memory int64         // RssAnon
	inUse  int64         // of it, the heap's spans and the stacks
	kernel int64         // what waits in its clients' sockets to be read
	log    int64         // bytes of the access log
}

// siege watches a server under attack.
type siege struct {
	t      testing.TB
	server *served
	stop   chan struct{}
	done   sync.WaitGroup

	mu   sync.Mutex
	peak spent
}

// watch begins to look at memory every few milliseconds.
func watchSiege(t testing.TB, server *served) *siege {
	s := &siege{t: t, server: server, stop: make(chan struct{})}
	s.done.Go(func() {
		for {
			s.look()
			select {
			case <-s.stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return s
}

func (s *siege) look() {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak.memory = max(s.peak.memory, now.memory)
	s.peak.inUse = max(s.peak.inUse, now.inUse)
	s.peak.kernel = max(s.peak.kernel, now.kernel)
}

// most ends the watch, with what was the most.
func (s *siege) most() spent {
	close(s.stop)
	s.done.Wait()
	return s.peak
}

func (s *siege) now() spent {
	pid := s.server.cmd.Process.Pid
	var now spent
	for _, p := range append(s.server.signers(), pid) {
		now.cpu += cpuOf(p)
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			_, _ = fmt.Sscan(value, &now.memory)
			now.memory <<= 10
		}
	}
	metrics := s.metrics("go_memstats_heap_inuse_bytes", "go_memstats_stack_inuse_bytes")
	now.inUse = int64(metrics[0] + metrics[1])
	now.kernel = unsent(s.server.clients)
	if info, err := os.Stat(filepath.Join(s.server.cmd.Dir, "access.log")); err == nil {
		now.log = info.Size()
	}
	return now
}

func (s *siege) metrics(names ...string) []float64 {
	values := make([]float64, len(names))
	answer, err := http.Get("http://" + s.server.admin + "/metrics")
	if err != nil {
		return values // the server has been killed
	}
	defer answer.Body.Close()
	for line := range strings.Lines(readAll(answer)) {
		for i, name := range names {
			if text, ok := strings.CutPrefix(line, name+" "); ok {
				_, _ = fmt.Sscan(text, &values[i])
			}
		}
	}
	return values
}

// cpuOf is the CPU time of a process, by its clock (clock_getcpuclockid(3)).
func cpuOf(pid int) time.Duration {
	var at unix.Timespec
	const ofProcess = 2
	if err := unix.ClockGettime(int32(^pid<<3|ofProcess), &at); err != nil {
		return 0 // it has ended
	}
	return time.Duration(at.Nano())
}

// unsent is how many bytes wait in the sockets of an address to be acknowledged.
func unsent(address string) (total int64) {
	for _, s := range socketsOf(address) {
		if !s.listens {
			total += s.out
		}
	}
	return total
}

// tcpSocket is what the kernel tells of a socket. What waits in it are bytes or, where
// it listens, connections.
type tcpSocket struct {
	listens bool
	in, out int64
}

func socketsOf(address string) (all []tcpSocket) {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	local := fmt.Sprintf(":%04X", n)
	table, _ := os.ReadFile("/proc/net/tcp")
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasSuffix(fields[1], local) {
			continue
		}
		s := tcpSocket{listens: fields[3] == "0A"}
		if _, err := fmt.Sscanf(fields[4], "%x:%x", &s.out, &s.in); err == nil {
			all = append(all, s)
		}
	}
	return all
}

// neighbour is somebody else's traffic: requests on an open connection, and new
// connections now and then.
type neighbour struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	heard experience
}

// experience is what became of its requests.
type experience struct {
	took   map[string][]time.Duration // by their way
	failed []error
}

func newNeighbour(address string, roots *x509.CertPool) *neighbour {
	ctx, cancel := context.WithCancel(context.Background())
	n := &neighbour{cancel: cancel}
	n.turn()
	for way, pause := range map[string]time.Duration{"open": 20 * time.Millisecond, "new": 100 * time.Millisecond} {
		n.done.Go(func() {
			c := &client{address: address, config: &tls.Config{RootCAs: roots, ServerName: "ec.sallyport.test"}}
			defer c.close()
			for ctx.Err() == nil {
				began := time.Now()
				err := c.get(ctx)
				if ctx.Err() != nil {
					return
				}
				n.note(way, time.Since(began), err)
				if way == "new" || err != nil {
					c.close()
				}
				time.Sleep(pause)
			}
		})
	}
	return n
}

func (n *neighbour) note(way string, took time.Duration, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.heard.failed = append(n.heard.failed, fmt.Errorf("%s: %w", way, err))
		return
	}
	n.heard.took[way] = append(n.heard.took[way], took)
}

// turn begins to count anew, and returns what there was until now.
func (n *neighbour) turn() experience {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := n.heard
	n.heard = experience{took: make(map[string][]time.Duration)}
	return last
}

// slow are the median and the slowest of the requests of a way.
func (e experience) slow(way string) (median, slowest time.Duration, count int) {
	took := slices.Sorted(slices.Values(e.took[way]))
	if len(took) == 0 {
		return 0, 0, 0
	}
	return took[len(took)/2], took[len(took)-1], len(took)
}

// count is how many requests there were.
func (e experience) count() int { return len(e.took["open"]) + len(e.took["new"]) + len(e.failed) }

func (n *neighbour) stop() {
	n.cancel()
	n.done.Wait()
}

// outcome is what came of an attack.
type outcome struct {
	name   string
	toll   toll
	server spent // more than before, at most
	others experience
	took   time.Duration
}

// garrison is a server with its neighbour.
type garrison struct {
	server *served
	others *neighbour
	usual  float64 // CPU time that a new connection of the neighbour's stands for
}

// man starts one, which ends with the test. calm is for how long it is looked at
// before anybody attacks.
func (s *stronghold) man(t *testing.T, calm time.Duration, short bool) *garrison {
	memory := collecting
	if short {
		memory = func(server *exec.Cmd) {
			collecting(server)
			server.Env = append(server.Env, "SALLYPORT_LIMITS_MEMORY="+shortMemory)
		}
	}
	server, err := startServedAs(memory, t.TempDir(), s.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.kill)
	s.warmUp(t, server)
	g := &garrison{server: server, others: newNeighbour(server.clients, s.roots)}
	t.Cleanup(g.others.stop)
	watch := watchSiege(t, server)
	g.others.turn()
	before := watch.now()
	time.Sleep(calm)
	after := watch.now()
	watch.most()
	// Requests on the open connection and the watch are counted by this as well: it
	// costs most, and all of them come as often as the machine allows.
	_, _, opened := g.others.turn().slow("new")
	g.usual = float64(after.cpu-before.cpu) / float64(max(opened, 1))
	return g
}

// endure has it attacked.
func (g *garrison) endure(t *testing.T, name string, n int) outcome {
	watch := watchSiege(t, g.server)
	g.others.turn()
	before := watch.now()
	began := time.Now()
	cost, end := launch(t, name, g.server.clients, n)
	took := time.Since(began)
	watch.look()
	time.Sleep(100 * time.Millisecond) // what was sent may not have been worked off
	at := watch.now()
	peak := watch.most()
	heard := g.others.turn()
	end()
	_, _, opened := heard.slow("new")
	spentCPU := float64(at.cpu-before.cpu) - g.usual*float64(opened)
	return outcome{name, cost, spent{
		cpu:    time.Duration(max(spentCPU, 0)),
		memory: max(peak.memory-before.memory, 0), inUse: max(peak.inUse-before.inUse, 0),
		kernel: peak.kernel, log: at.log - before.log,
	}, heard, took}
}

// warmUp makes as many requests as the heap takes to reach its usual size.
func (s *stronghold) warmUp(t *testing.T, server *served) {
	l := startLoad(server.clients, s.roots, 2, 0)
	defer l.stop()
	for _, way := range ways {
		tally := (*l.now.Load())[way]
		for deadline := time.Now().Add(patience); tally.good.Load() < 15; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no %s requests: %v", way, tally.why())
			}
		}
	}
}

// launch starts the attacker's process and returns when its attack is at its height. end
// ends it.
func launch(t *testing.T, name, address string, n int) (toll, func()) {
	cmd := exec.Command("adversary", name, address, strconv.Itoa(n))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var cost toll
	if err := json.NewDecoder(out).Decode(&cost); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return cost, func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// collecting has garbage collected early. The server lets 16 MiB of it gather, whoever
// makes it (ballast.go), which is more than some of these attackers send in all; what
// they hold is what counts.
func collecting(server *exec.Cmd) { server.Env = append(server.Env, "GOGC=25") }
