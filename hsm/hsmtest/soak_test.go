package hsmtest_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
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

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Random faults, one after the other, while signatures are made and the token is
// read. Afterwards the token is whole again, and nothing is left behind: TestMain
// looks for goroutines.
func TestFaulty_Soak(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f, func(c *hsm.Config) {
		c.Processes, c.SignTimeout, c.OpenTimeout = 2, 500*time.Millisecond, 3*time.Second
	})
	f.Await("*", func(hsmtest.Calls) bool { return len(f.Processes()) == 2 })
	files := openFiles(t)

	functions := []string{"C_Sign", "C_SignInit", "C_OpenSession", "C_FindObjects", "C_GetAttributeValue", "C_Login"}
	codes := []uint{hsmtest.CKR_DEVICE_ERROR, hsmtest.CKR_GENERAL_ERROR, hsmtest.CKR_KEY_HANDLE_INVALID, hsmtest.CKR_HOST_MEMORY}
	pick := func() string { return functions[rand.IntN(len(functions)-1)] } // not C_Login
	faults := []func(){
		func() { f.Return(pick(), codes[rand.IntN(len(codes))], 1+rand.IntN(4)) },
		func() { f.Crash(functions[rand.IntN(len(functions))]) },
		func() { f.HangForGood(pick(), 1) },
		func() { f.Latency("C_Sign", 20*time.Millisecond, 20*time.Millisecond) },
		f.LoseSessions, f.LoseLogin, f.Wedge,
		func() { f.Vanish(); time.Sleep(300 * time.Millisecond); f.Reappear() },
	}
	var good, bad atomic.Int64
	stop := make(chan struct{})
	done := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
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
		}()
	}
	for end := time.Now().Add(soakTime(t)); time.Now().Before(end); {
		faults[rand.IntN(len(faults))]()
		time.Sleep(time.Duration(100+rand.IntN(300)) * time.Millisecond)
		if rand.IntN(4) == 0 {
			_ = token.Rescan(t.Context()) // it may meet a fault
		}
		if rand.IntN(3) == 0 {
			f.Heal()
		}
	}
	f.Heal()
	f.Release()
	token.Unlock() // a login that crashed may count as a wrong one
	close(stop)
	for range 4 {
		<-done
	}
	t.Logf("%d signatures were made, %d were not", good.Load(), bad.Load())

	eventuallyTrue(t, "the token is up with both processes", func() bool {
		state, _ := token.State()
		return state == hsm.Up && len(f.Processes()) == 2
	})
	eventuallyTrue(t, "fifty signatures in a row are made", func() bool {
		return !slices.ContainsFunc(make([]struct{}, 50), func(struct{}) bool { return sign(k) != nil })
	})
	if inv := token.Inventory(); len(inv.Keys) != 2 || len(inv.Certificates) != 2 {
		t.Errorf("it is up with %d keys and %d certificates", len(inv.Keys), len(inv.Certificates))
	}
	eventuallyTrue(t, "no file is left open", func() bool { return openFiles(t) <= files })
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
