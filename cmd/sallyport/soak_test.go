package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestFaults_Soak lets faults happen at random under traffic, for some seconds
// or as long as $SOAK says. Open connections and resumed sessions lose nothing
// by that. Afterwards the service is whole, and nothing is left behind.
func TestFaults_Soak(t *testing.T) {
	t.Parallel()
	lasting := 8 * time.Second
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if lasting, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	r := newRig(t, setup{processes: 2, spare: true}, "1s")
	r.until("the service is whole", r.whole)
	all := *r.load.now.Load()
	r.each(50, all) // connections to the backend are kept, and count as well
	// What the race detector needs is not among the heap.
	const goroutines, heap = "go_goroutines", "go_memstats_heap_inuse_bytes"
	files, running, memory := r.openFiles(), r.measure(goroutines), r.measure(heap)

	happened := 0
	for end := time.Now().Add(lasting); time.Now().Before(end); happened++ {
		faults[rand.IntN(len(faults))].happen(r)
		time.Sleep(time.Duration(100+rand.IntN(900)) * time.Millisecond)
		if rand.IntN(2) == 0 {
			r.faulty.Heal()
		}
	}
	r.faulty.Heal()
	healed := time.Now()
	r.until("the service is whole", r.whole)
	back := time.Since(healed)
	// A process that was stopped shows itself by the signatures that it does not make.
	more := r.load.turn()
	r.each(50, more)
	r.until("the service is whole", r.whole)
	r.load.stop()

	for _, way := range ways {
		for _, t := range []*tally{all[way], more[way]} {
			if lost := t.bad.Load(); lost > 0 {
				r.t.Errorf("%d of %d requests of the way %q were lost, the last by %v", lost, lost+t.good.Load(), way, t.why())
			}
		}
	}
	r.until("no file is left open", func() bool { return r.openFiles() <= files })
	if zombies := r.zombies(); len(zombies) > 0 {
		t.Errorf("processes %v have ended and were not waited for", zombies)
	}
	for pid, n := range r.faulty.Sessions() {
		if n > rigSessions+1 { // and the one of the login
			t.Errorf("process %d has %d sessions open", pid, n)
		}
	}
	r.until("no goroutine is left", func() bool { return r.measure(goroutines) <= running })
	grown := (r.measure(heap) - memory) / (1 << 10)
	if grown > 16<<10 {
		t.Errorf("its memory grew by %.0f KiB", grown)
	}
	t.Logf("%d faults; requests on open connections %d, resumed %d, full %d; whole again %s after the last fault; %d files open, %d at first; %.0f goroutines, %.0f at first; heap %+.0f KiB",
		happened, all["open"].good.Load(), all["resumed"].good.Load(), all["full"].good.Load(), back.Round(time.Millisecond), r.openFiles(), files, r.measure(goroutines), running, grown)
	if err := r.server.stop(); err != nil {
		t.Error(err)
	}
}

// openFiles is how many descriptors the serving process has.
func (r *rig) openFiles() int {
	r.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.server.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(entries)
}

// measure reads a metric of the serving process.
func (r *rig) measure(name string) (value float64) {
	r.t.Helper()
	answer, err := http.Get("http://" + r.server.admin + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	for line := range strings.Lines(readAll(answer)) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(text, &value); err != nil {
				r.t.Fatal(err)
			}
			return value
		}
	}
	r.t.Fatalf("there is no metric %s", name)
	return 0
}

// zombies are its children that have ended and that it has not reaped.
func (r *rig) zombies() (pids []int) {
	for _, pid := range r.server.signers() {
		stat, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if _, state, _ := bytes.Cut(stat, []byte(") ")); bytes.HasPrefix(state, []byte("Z")) {
			pids = append(pids, pid)
		}
	}
	return pids
}
