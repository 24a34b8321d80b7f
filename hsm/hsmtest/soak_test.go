package hsmtest_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// soakTime is how long the soak runs: some seconds, or what $SOAK says.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SOAK")
	if text == "" {
		return 8 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// soakFaults are what a soak chooses from.
func soakFaults(f *hsmtest.Faulty) []func() {
	functions := []string{"C_Sign", "C_SignInit", "C_OpenSession", "C_FindObjects", "C_GetAttributeValue", "C_Login"}
	codes := []uint{hsmtest.CKR_DEVICE_ERROR, hsmtest.CKR_GENERAL_ERROR, hsmtest.CKR_KEY_HANDLE_INVALID, hsmtest.CKR_HOST_MEMORY}
	pick := func() string { return functions[rand.IntN(len(functions)-1)] } // not C_Login
	send := func(s syscall.Signal) {
		if pids := f.Processes(); len(pids) > 0 {
			_ = syscall.Kill(pids[rand.IntN(len(pids))], s) // it may just have ended
		}
	}
	return []func(){
		func() { f.Return(pick(), codes[rand.IntN(len(codes))], 1+rand.IntN(4)) },
		func() { f.Return("C_Sign", codes[rand.IntN(len(codes))], 0) },
		func() { f.Crash(functions[rand.IntN(len(functions))]) },
		func() { f.HangForGood(pick(), 1) },
		func() { f.Hang("*") },
		func() { f.Latency("C_Sign", 20*time.Millisecond, 20*time.Millisecond) },
		func() { send(syscall.SIGKILL) },
		func() { send(syscall.SIGSTOP) },
		f.LoseSessions, f.LoseLogin, f.Wedge,
		func() { f.Vanish(); time.Sleep(300 * time.Millisecond); f.Reappear() },
	}
}

// Random faults, one after the other, while signatures are made and the token is
// read. Afterwards the token is whole again, and nothing is left behind: TestMain
// looks for goroutines.
func TestFaulty_Soak(t *testing.T) {
	const processes, sessions = 2, 4
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, logs := run(t, s, f, func(c *hsm.Config) {
		c.Processes, c.SignTimeout, c.OpenTimeout, c.Settings.Sessions = processes, 500*time.Millisecond, 10*time.Second, sessions
	})
	k := keyOf(t, token)
	whole := token.Inventory()
	f.Await("*", func(hsmtest.Calls) bool { return len(f.Processes()) == processes })
	files, heap := openFiles(t), heapInUse()

	var good, bad atomic.Int64
	stop := make(chan struct{})
	var signing sync.WaitGroup
	for range 4 {
		signing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if sign(k) == nil {
					good.Add(1)
				} else {
					bad.Add(1)
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	faults := soakFaults(f)
	for end := time.Now().Add(soakTime(t)); time.Now().Before(end); {
		faults[rand.IntN(len(faults))]()
		time.Sleep(time.Duration(100+rand.IntN(300)) * time.Millisecond)
		if rand.IntN(4) == 0 {
			_ = token.Rescan(t.Context()) // it may meet a fault
		}
		if rand.IntN(3) == 0 {
			f.Heal()
		}
		token.Unlock() // a login that crashed may count as a wrong one
	}
	f.Heal()
	healed := time.Now()
	token.Unlock()
	var last error
	defer func() {
		if state, reason := token.State(); t.Failed() {
			t.Logf("the token is %s (%v), the last error %v", state, reason, last)
		}
	}()
	eventuallyTrue(t, "a signature is made", func() bool { last = sign(k); return last == nil })
	back := time.Since(healed)
	close(stop)
	signing.Wait()

	eventuallyTrue(t, "fifty signatures in a row are made", func() bool {
		return !slices.ContainsFunc(make([]struct{}, 50), func(struct{}) bool { return sign(k) != nil })
	})
	eventuallyTrue(t, "the token is up with all its processes, and no other is left", func() bool {
		_ = sign(k) // one that is stopped shows itself by that
		state, _ := token.State()
		return state == hsm.Up && len(f.Processes()) == processes && len(children(t)) == processes
	})
	if inv := token.Inventory(); len(inv.Keys) != len(whole.Keys) || len(inv.Certificates) != len(whole.Certificates) {
		t.Errorf("it is up with %d keys and %d certificates", len(inv.Keys), len(inv.Certificates))
	}
	for pid, n := range f.Sessions() {
		if n > sessions+1 { // and the one of the login
			t.Errorf("process %d has %d sessions open", pid, n)
		}
	}
	eventuallyTrue(t, "no file is left open", func() bool { return openFiles(t) <= files })
	grown := heapInUse() - heap - int64(2*len(logs.String()))
	if grown > 8<<20 {
		t.Errorf("%d bytes of memory are left in use", grown)
	}
	t.Logf("%d signatures were made, %d were not; %d processes; back %s after the last fault; sessions %v; memory %+d KiB",
		good.Load(), bad.Load(), f.Stats()["C_Login"].Made, back.Round(time.Millisecond), f.Sessions(), grown>>10)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// children are the processes that this one has started and not yet reaped.
func children(t *testing.T) (pids []string) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		b, _ := os.ReadFile(list) // a thread may just have ended
		pids = append(pids, strings.Fields(string(b))...)
	}
	return pids
}

// heapInUse is what a collection leaves.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// eventuallyTrue waits for a condition, longer than the longest pause between two tries.
func eventuallyTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after two minutes: %s", what)
		}
	}
}
