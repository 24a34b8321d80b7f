package main

import (
	"crypto/tls"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// most is the bound: no client has the server spend more than so many times the
// bytes that it sends in memory, nor more than so many times its own CPU time.
const most = 100

// heapNoise is what the heap grows and shrinks by from one collection to the next. It
// is allowed beside the bound where an attack is a small one.
const heapNoise = 8 << 20

// TestAdversaries has attackers do what costs them least and the server most,
// with a neighbour who goes on making requests. With $ADVERSARY_REPORT it is
// many of each, one after the other, each against a server of its own, and a
// table of what both spent in that file.
//
// What is compared, and why that is fair:
//
// The attacker's bytes are those that it hands to its sockets, those of TLS
// among them, and 112 for each connection: the SYN and the ACK without which there
// is none. Other headers of TCP and IP are a present to the server's side of the
// scale. The handshake is as short as a client can make it (X25519, 400 bytes), a
// fourth of a browser's.
//
// The server's memory is what its process has grown by at most (RssAnon), with
// all that the collector has not collected yet. In the quick run, where the race detector
// has memory of its own, it is the heap's spans and the stacks. What waits in the kernel's
// send buffers for a client that does not read is told of in a column of its own:
// the kernel bounds it as a whole (tcp_mem), the product for each connection.
//
// Both are summed over all connections of the attacker. A connection is what
// an attacker buys; that it gets the first few streams, which a client must get
// to be served at all, for 20 bytes each is part of that price. What it may
// hold beyond them is bounded by the budget for clients (limits.memory), of which it may
// hold half, and seven eighths with what each connection gets to be served at all: the
// bound on memory is one for the case when that is short. It is 8 MiB
// under the attacks by HTTP/2 and the floods, and 512 MiB under those
// whose connections hold most of what they do.
//
// CPU time is that of processes: of the attacker's, which reads no further than
// the socket where it can, and of the server's and its signers', less what the
// neighbour's requests cost before.
func TestAdversaries(t *testing.T) {
	b := &bill{file: os.Getenv("ADVERSARY_REPORT")}
	t.Cleanup(func() { b.write(t) })
	s := newStronghold(t, 10000)
	if b.file != "" {
		for _, name := range append(slices.Sorted(maps.Keys(sieges)), slices.Sorted(maps.Keys(floods))...) {
			t.Run(name, func(t *testing.T) {
				b.add(t, s.man(t, time.Second, isShortOf(name)).endure(t, name, assaultNamed(name).many))
			})
		}
		return
	}
	const calm = 200 * time.Millisecond
	for _, name := range quick(sieges) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b.add(t, s.man(t, calm, isShortOf(name)).endure(t, name, sieges[name].some))
		})
	}
	t.Run("floods", func(t *testing.T) { // which hold little, so that one server does for all
		t.Parallel()
		g := s.man(t, calm, true)
		for _, name := range quick(floods) {
			t.Run(name, func(t *testing.T) { b.add(t, g.endure(t, name, floods[name].some)) })
		}
	})
}

// quick are the names of those that CI runs.
func quick(all map[string]assault) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name].some > 0 {
			names = append(names, name)
		}
	}
	return names
}

// TestAdversaries_TenThousandIdle has connections idle, as many as the listener
// takes: one more has one of them closed, and is served.
// Where files are limited to less, they are fewer.
func TestAdversaries_TenThousandIdle(t *testing.T) {
	n := 500
	if os.Getenv("ADVERSARY_REPORT") == "" {
		t.Parallel()
	} else {
		n = idleOf(t, 10000)
	}
	s := newStronghold(t, n)
	server, err := startServedAs(collecting, t.TempDir(), s.config)
	if err != nil {
		t.Fatal(err)
	}
	defer server.kill()
	watch := watchSiege(t, server)
	before := watch.now()
	cost, end := launch(t, "idle-h1", server.clients, n)
	if open := watch.metrics("go_goroutines")[0]; open < float64(n) {
		t.Errorf("%v goroutines for %d connections", open, n)
	}
	late := make(chan error, 1)
	go func() {
		c := &client{address: server.clients, config: &tls.Config{RootCAs: s.roots, ServerName: "ec.sallyport.test"}}
		defer c.close()
		late <- c.get(t.Context())
	}()
	if err := <-late; err != nil {
		t.Errorf("one more than %d connections: %v", n, err)
	}
	watch.look()
	end()
	peak := watch.most()
	grown := peak.memory - before.memory
	t.Logf("%d idle connections: %d bytes each (%d of heap and stacks), for %d bytes that each has sent",
		n, grown/int64(n), (peak.inUse-before.inUse)/int64(n), cost.Sent/int64(n))
	if inUse := peak.inUse - before.inUse; inUse > most*cost.Sent+heapNoise {
		t.Errorf("%d bytes of memory for %d sent", inUse, cost.Sent)
	}
}

// idleOf is how many connections the limits on open files allow, of those wanted.
func idleOf(t *testing.T, wanted int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	const others = 100
	n := min(wanted, int(limit.Max)-others)
	if n < wanted {
		t.Logf("%d connections, not %d: there can be %d files", n, wanted, limit.Max)
	}
	return n
}

// judge holds an outcome to the bound. exact leaves no room for noise.
func (o outcome) judge(t *testing.T, exact bool) {
	memory, noise := o.server.inUse, int64(heapNoise)
	if exact {
		memory, noise = o.server.memory, 0
	}
	if memory > most*o.toll.Sent+noise {
		t.Errorf("%d bytes of memory for %d sent, %.0f times as many", memory, o.toll.Sent, ratio(memory, o.toll.Sent))
	}
	if o.server.cpu > most*o.toll.CPU {
		t.Errorf("%v of CPU for the attacker's %v, %.0f times as much", o.server.cpu, o.toll.CPU, ratio(o.server.cpu, o.toll.CPU))
	}
	if o.server.log > most*o.toll.Sent {
		t.Errorf("%d bytes of log for %d sent", o.server.log, o.toll.Sent)
	}
	for _, err := range o.others.failed {
		t.Errorf("a neighbour's request failed: %v", err)
	}
}

func ratio[T int64 | time.Duration](a, b T) float64 { return float64(a) / float64(b) }

func (o outcome) String() string {
	median, slowest, count := o.others.slow("open")
	newMedian, newSlowest, newCount := o.others.slow("new")
	return fmt.Sprintf("sent %d bytes on %d connections: memory %d (%.0f:1), heap and stacks %d (%.0f:1), kernel %d (%.0f:1); CPU %s for %s (%.1f:1); log %.1f:1; neighbour %d requests, half in %s, all in %s, %d new connections, half in %s, all in %s; lasted %s",
		o.toll.Sent, o.toll.Opened, o.server.memory, ratio(o.server.memory, o.toll.Sent), o.server.inUse, ratio(o.server.inUse, o.toll.Sent),
		o.server.kernel, ratio(o.server.kernel, o.toll.Sent), o.server.cpu, o.toll.CPU, ratio(o.server.cpu, o.toll.CPU), ratio(o.server.log, o.toll.Sent),
		count, median, slowest, newCount, newMedian, newSlowest, o.took)
}

// bill is the table of all outcomes.
type bill struct {
	file string // "": none is written

	mu  sync.Mutex
	all []outcome
}

// add judges an outcome and writes it down.
func (b *bill) add(t *testing.T, o outcome) {
	t.Log(o)
	o.judge(t, b.file != "")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, o)
}

const billHead = `| attack | what | connections | sent KiB | memory KiB | : 1 | heap, stacks : 1 | kernel : 1 | CPU ms | its own ms | : 1 | log : 1 | neighbour open: half, worst ms | new: half, worst ms | failed |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

func (b *bill) write(t *testing.T) {
	if b.file == "" {
		return
	}
	var text strings.Builder
	text.WriteString(billHead)
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	for _, o := range b.all {
		median, slowest, _ := o.others.slow("open")
		newMedian, newSlowest, _ := o.others.slow("new")
		fmt.Fprintf(&text, "| %s | %s | %d | %d | %d | %.1f | %.1f | %.1f | %.0f | %.0f | %.1f | %.1f | %.1f, %.0f | %.1f, %.0f | %d of %d |\n",
			o.name, assaultNamed(o.name).what, o.toll.Opened, o.toll.Sent>>10, o.server.memory>>10, ratio(o.server.memory, o.toll.Sent),
			ratio(o.server.inUse, o.toll.Sent), ratio(o.server.kernel, o.toll.Sent), ms(o.server.cpu), ms(o.toll.CPU),
			ratio(o.server.cpu, o.toll.CPU), ratio(o.server.log, o.toll.Sent), ms(median), ms(slowest), ms(newMedian), ms(newSlowest),
			len(o.others.failed), o.others.count())
	}
	if err := os.WriteFile(b.file, []byte(text.String()), 0o600); err != nil {
		t.Error(err)
	}
}
