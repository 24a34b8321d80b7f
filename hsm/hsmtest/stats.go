package hsmtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Calls are what a Faulty has seen of one function, in all processes together.
type Calls struct {
	Made       int // since the beginning, or ResetStats
	Faulted    int // of these, how many a fault had a hand in; latency alone is none
	UnderWay   int // begun and not yet over, at this moment
	AtWork     int // of these, how many neither hang nor wait for their turn
	Hung       int // of these, how many hang
	MostAtOnce int // the most that were at work at once since the beginning, or ResetStats
}

// Stats returns the calls by function; those of all functions are under "*".
// Calls under way in a process that has died are not among them.
func (f *Faulty) Stats() map[string]Calls {
	f.t.Helper()
	l := f.readLedger()
	stats := make(map[string]Calls)
	for i, name := range l.names {
		c := Calls{Made: l.tally(i, 0), Faulted: l.tally(i, 1), MostAtOnce: l.tally(i, 2)}
		for _, p := range l.alive {
			c.UnderWay += l.gauge(p, i, 0)
			c.AtWork += l.gauge(p, i, 1)
			c.Hung += l.gauge(p, i, 2)
		}
		if c != (Calls{}) {
			stats[name] = c
		}
	}
	return stats
}

// Processes returns the processes that have the module loaded and have called
// it, in the order of their numbers.
func (f *Faulty) Processes() []int {
	f.t.Helper()
	l := f.readLedger()
	var pids []int
	for _, p := range l.alive {
		pids = append(pids, l.pid(p))
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// Sessions returns how many sessions each process has open, by its number. Those
// that a fault has made invalid count until they are closed.
func (f *Faulty) Sessions() map[int]int {
	f.t.Helper()
	l := f.readLedger()
	open := make(map[int]int)
	for _, p := range l.alive {
		open[l.pid(p)] += l.sessions(p)
	}
	return open
}

// ResetStats sets Made, Faulted and MostAtOnce of all functions back to 0.
func (f *Faulty) ResetStats() {
	f.t.Helper()
	l := f.readLedger()
	if len(l.names) == 0 {
		return
	}
	file, err := os.OpenFile(f.ledger, os.O_WRONLY, 0)
	if err != nil {
		f.t.Errorf("faulty: %v", err)
		return
	}
	defer file.Close()
	for i := range l.names {
		if _, err := file.WriteAt(make([]byte, 3*8), int64(l.tallyAt(i, 0))); err != nil {
			f.t.Errorf("faulty: %v", err)
		}
	}
}

// awaitLimit is far more than any condition of a test should need.
const awaitLimit = time.Minute

// Await waits until the calls of a function are as enough wants them.
func (f *Faulty) Await(fn string, enough func(Calls) bool) {
	f.t.Helper()
	deadline := time.Now().Add(awaitLimit)
	for {
		stats := f.Stats()
		if enough(stats[fn]) {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("waited in vain for calls of %s; there were: %+v", fn, stats)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ledger is the file that the module's processes map: struct ledger in
// faulty/faulty.h.
type ledger struct {
	b     []byte
	names []string
	alive []int // the processes whose byte of the file is locked
}

const (
	ledgerMagic = "faulty2\x00"
	ledgerHead  = len(ledgerMagic) + 2*4
	nameSize    = 32
	tallySize   = 4 * 8
	processHead = 2 * 8
	gaugeSize   = 4 * 4
)

// readLedger returns an empty ledger if no process has made a call yet.
func (f *Faulty) readLedger() (l ledger) {
	f.t.Helper()
	file, err := os.Open(f.ledger)
	if errors.Is(err, fs.ErrNotExist) {
		return ledger{}
	}
	if err != nil {
		f.t.Errorf("faulty: %v", err)
		return ledger{}
	}
	defer file.Close()
	// What a process does with its map is seen by read at once; numbers of 8
	// bytes are read whole, since they do not cross cache lines.
	if l.b, err = os.ReadFile(f.ledger); err != nil {
		f.t.Errorf("faulty: %v", err)
		return ledger{}
	}
	if !bytes.HasPrefix(l.b, []byte(ledgerMagic)) {
		return ledger{} // a process is about to write its head
	}
	functions := l.uint32(len(ledgerMagic))
	processes := l.uint32(len(ledgerMagic) + 4)
	for i := range functions {
		name, _, _ := bytes.Cut(l.b[ledgerHead+i*nameSize:][:nameSize], []byte{0})
		l.names = append(l.names, string(name))
	}
	for p := range processes {
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(p), Len: 1}
		if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
			f.t.Errorf("faulty: %v", err)
			return ledger{}
		}
		if lock.Type != unix.F_UNLCK && l.pid(p) != 0 {
			l.alive = append(l.alive, p)
		}
	}
	return l
}

func (l ledger) uint32(at int) int { return int(binary.NativeEndian.Uint32(l.b[at:])) }
func (l ledger) uint64(at int) int { return int(binary.NativeEndian.Uint64(l.b[at:])) }

func (l ledger) tallyAt(function, n int) int {
	return ledgerHead + len(l.names)*nameSize + function*tallySize + n*8
}

func (l ledger) tally(function, n int) int { return l.uint64(l.tallyAt(function, n)) }

func (l ledger) processAt(p int) int {
	return l.tallyAt(len(l.names), 0) + p*(processHead+len(l.names)*gaugeSize)
}

func (l ledger) pid(p int) int      { return l.uint64(l.processAt(p)) }
func (l ledger) sessions(p int) int { return l.uint64(l.processAt(p) + 8) }

func (l ledger) gauge(p, function, n int) int {
	return l.uint32(l.processAt(p) + processHead + function*gaugeSize + n*4)
}
