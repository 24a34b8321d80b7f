package hsmtest_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
	"sallyport/hsm/signer"
	"sallyport/hsm/wire"
)

// The test binary is its own signer process, as sallyport is.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "signer" {
		if err := signer.Main(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == orphanMaker {
		makeOrphan(os.Args[2], os.Args[3])
		return
	}
	goleak.VerifyTestMain(m)
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// run runs a token on the faulty module until the test ends.
func run(t *testing.T, s *hsmtest.Token, f *hsmtest.Faulty, change ...func(*hsm.Config)) (*hsm.Token, *logBuffer) {
	t.Helper()
	c := hsm.Config{
		Name: "edge",
		Settings: wire.Settings{
			Module: f.Module, Label: "edge", PIN: "file:" + s.PINFile, Sessions: 4,
		},
		Environment: f.Environment,
		Dir:         s.Dir,
	}
	for _, do := range change {
		do(&c)
	}
	logs := new(logBuffer)
	token := hsm.NewToken(c, slog.New(slog.NewTextHandler(logs, nil)), hsm.NewMetrics(prometheus.NewRegistry()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		token.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if t.Failed() {
			t.Logf("logs:\n%s", logs)
		}
	})
	return token, logs
}

// up runs a token and returns its key "ec".
func up(t *testing.T, s *hsmtest.Token, f *hsmtest.Faulty, change ...func(*hsm.Config)) (*hsm.Token, *hsm.Key) {
	t.Helper()
	token, _ := run(t, s, f, change...)
	return token, keyOf(t, token)
}

// keyOf waits for a token and returns its key "ec".
func keyOf(t *testing.T, token *hsm.Token) *hsm.Key {
	t.Helper()
	if err := token.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	u, err := hsm.ParseURI("pkcs11:object=ec")
	if err != nil {
		t.Fatal(err)
	}
	keys, _, err := hsm.FindKeys([]*hsm.Token{token}, u)
	if err != nil {
		t.Fatal(err)
	}
	return keys[0]
}

func patient(c *hsm.Config) { c.SignTimeout = time.Minute }

// impatient is a sign timeout that is short for this machine as it is now: a process can
// be replaced within it, and a signature be made, several times over.
func impatient(t *testing.T, s *hsmtest.Token, f *hsmtest.Faulty) func(*hsm.Config) {
	t.Helper()
	began := time.Now()
	t.Run("how long it takes", func(t *testing.T) {
		_, k := up(t, s, f, patient)
		if err := sign(k); err != nil {
			t.Fatal(err)
		}
	})
	took := time.Since(began)
	return func(c *hsm.Config) { c.SignTimeout = 500*time.Millisecond + 8*took }
}

var errWrongSignature = errors.New("the signature is wrong")

func sign(k *hsm.Key) error {
	digest := sha256.Sum256([]byte("message"))
	signature, err := k.Sign(nil, digest[:], crypto.SHA256)
	if err == nil && !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], signature) {
		return errWrongSignature
	}
	return err
}

// traffic signs with each of the keys in n goroutines until its stop is called,
// or the test ends.
func traffic(t *testing.T, n int, keys ...*hsm.Key) (stop func()) {
	t.Helper()
	var wg sync.WaitGroup
	stopped := make(chan struct{})
	for _, k := range keys {
		for range n {
			wg.Go(func() {
				for {
					select {
					case <-stopped:
						return
					default:
					}
					if err := sign(k); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	stop = sync.OnceFunc(func() {
		close(stopped)
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// eventually waits until a key signs.
func eventually(t *testing.T, k *hsm.Key) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := sign(k)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still no signature: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestFaulty_WithoutFaultsIsTheRealModule(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	if stats := f.Stats(); len(stats) != 0 {
		t.Errorf("calls before the first: %+v", stats)
	}
	_, k := up(t, s, f)
	for range 3 {
		if err := sign(k); err != nil {
			t.Fatal(err)
		}
	}
	stats := f.Stats()
	if got := stats["C_Sign"]; got != (hsmtest.Calls{Made: 3, MostAtOnce: 1}) {
		t.Errorf("C_Sign: %+v", got)
	}
	if all := stats["*"]; all.Faulted != 0 || all.UnderWay != 0 || all.Made < 20 {
		t.Errorf("all calls: %+v", all)
	}
	if n := stats["C_Login"].Made; n != 1 {
		t.Errorf("%d logins", n)
	}
	pids := f.Processes()
	if len(pids) != 1 {
		t.Errorf("processes %v", pids)
	}
	// Those that signatures may use, and that of the login.
	if open := f.Sessions(); len(open) != 1 || open[pids[0]] < 2 || open[pids[0]] > 5 {
		t.Errorf("sessions %v of %v", open, pids)
	}
	f.ResetStats()
	if stats := f.Stats(); len(stats) != 0 {
		t.Errorf("after the reset: %+v", stats)
	}
}

func TestFaulty_LatencyLetsCallsOverlap(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	_, k := up(t, s, f, patient)
	f.Latency("C_Sign", 20*time.Millisecond, 20*time.Millisecond)
	stop := traffic(t, 4, k)
	f.Await("C_Sign", func(c hsmtest.Calls) bool { return c.AtWork == 4 })
	stop()
	if c := f.Stats()["C_Sign"]; c.MostAtOnce != 4 || c.Faulted != 0 {
		t.Errorf("%+v", c)
	}
}

func TestFaulty_ParallelBoundsTheDevice(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	_, one := up(t, s, f, patient)
	_, two := up(t, s, f, patient)
	for _, c := range []struct {
		name  string
		limit func()
		most  int
	}{
		{"of the device", func() { f.Parallel(3) }, 3},
		{"of one function", func() { f.ParallelOf("C_Sign", 1) }, 1},
		{"of each process", func() { f.ParallelPerProcess(1) }, 2},
		{"none", func() {}, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.Heal()
			f.Latency("C_Sign", 20*time.Millisecond, 0)
			c.limit()
			f.ResetStats()
			stop := traffic(t, 4, one, two)
			if c.most < 8 {
				f.Await("*", func(seen hsmtest.Calls) bool { return seen.UnderWay > seen.AtWork && seen.AtWork == c.most })
			}
			f.Await("C_Sign", func(seen hsmtest.Calls) bool { return seen.Made > 30 && seen.MostAtOnce == c.most })
			stop()
			if n := f.Stats()["C_Sign"].MostAtOnce; n != c.most {
				t.Errorf("%d at once", n)
			}
		})
	}
}

func TestFaulty_ADeadProcessGivesItsTurnBack(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	_, one := up(t, s, f, patient)
	doomed := f.Processes()
	_, two := up(t, s, f, patient)
	f.Parallel(1)
	f.Latency("C_Sign", time.Hour, 0)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := sign(one); err != nil {
			t.Error(err)
		}
	})
	f.Await("C_Sign", func(c hsmtest.Calls) bool { return c.AtWork == 1 })
	f.Latency("C_Sign", 0, 0)
	wg.Go(func() {
		if err := sign(two); err != nil {
			t.Error(err)
		}
	})
	f.Await("*", func(c hsmtest.Calls) bool { return c.UnderWay == 2 && c.AtWork == 1 })
	if err := syscall.Kill(doomed[0], syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	wg.Wait() // the first one signs in a new process
	if all := f.Stats()["*"]; all.UnderWay != 0 || all.MostAtOnce < 1 {
		t.Errorf("%+v", all)
	}
}

func TestFaulty_ReturnsWhatItIsTold(t *testing.T) {
	s := hsmtest.New(t)
	t.Run("an error of the request leaves the process alone", func(t *testing.T) {
		f := hsmtest.NewFaulty(t, s)
		_, k := up(t, s, f)
		before := f.Processes()
		f.Return("C_Sign", hsmtest.CKR_KEY_FUNCTION_NOT_PERMITTED, 2)
		for range 2 {
			err := sign(k)
			var failure *wire.Failure
			if !errors.As(err, &failure) || failure.Class != wire.Request || !strings.Contains(err.Error(), "CKR_KEY_FUNCTION_NOT_PERMITTED") {
				t.Errorf("got %v", err)
			}
		}
		if err := sign(k); err != nil {
			t.Errorf("the third: %v", err)
		}
		if c := f.Stats()["C_Sign"]; c.Made != 3 || c.Faulted != 2 {
			t.Errorf("%+v", c)
		}
		if now := f.Processes(); !slices.Equal(now, before) {
			t.Errorf("processes %v became %v", before, now)
		}
	})
	for name, rv := range map[string]uint{"CKR_DEVICE_ERROR": hsmtest.CKR_DEVICE_ERROR, "a vendor's own code": 0x80000123} {
		t.Run(name+" once costs neither the process nor the signature", func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			_, k := up(t, s, f)
			before := f.Processes()
			f.Return("C_SignInit", rv, 1)
			if err := sign(k); err != nil {
				t.Error(err)
			}
			if c := f.Stats()["C_SignInit"]; c.Faulted != 1 || c.Made != 2 {
				t.Errorf("%+v", c)
			}
			if now := f.Processes(); !slices.Equal(now, before) {
				t.Errorf("processes %v became %v", before, now)
			}
		})
	}
	for name, rv := range map[string]uint{
		"CKR_DEVICE_REMOVED":         hsmtest.CKR_DEVICE_REMOVED,
		"CKR_SESSION_HANDLE_INVALID": hsmtest.CKR_SESSION_HANDLE_INVALID,
	} {
		t.Run(name+" once costs the process and not the signature", func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			_, k := up(t, s, f)
			before := f.Processes()
			f.Return("C_SignInit", rv, 1)
			if err := sign(k); err != nil {
				t.Error(err)
			}
			stats := f.Stats()
			if stats["C_SignInit"].Faulted != 1 || stats["C_Login"].Made != 2 {
				t.Errorf("%+v", stats)
			}
			if now := f.Processes(); slices.Equal(now, before) {
				t.Errorf("it is still process %v", now)
			}
		})
	}
	t.Run("until Heal", func(t *testing.T) {
		f := hsmtest.NewFaulty(t, s)
		_, k := up(t, s, f)
		f.Return("C_Sign", hsmtest.CKR_DEVICE_ERROR, 0)
		if err := sign(k); err == nil || !strings.Contains(err.Error(), "CKR_DEVICE_ERROR") {
			t.Errorf("got %v", err)
		}
		f.Heal()
		eventually(t, k)
	})
}

func TestFaulty_TimesAreCountedOverAllProcesses(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	_, one := up(t, s, f)
	_, two := up(t, s, f)
	f.Return("C_Sign", hsmtest.CKR_KEY_FUNCTION_NOT_PERMITTED, 7)
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for _, k := range []*hsm.Key{one, two} {
		for range 10 {
			wg.Go(func() {
				// Other changes of the control file do not start the count anew.
				f.Garbage("C_DigestInit", 80)
				if err := sign(k); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed++
				}
			})
		}
	}
	wg.Wait()
	if n := f.Stats()["C_Sign"].Faulted; failed != 7 || n != 7 {
		t.Errorf("%d signatures failed, %d calls", failed, n)
	}
}

func TestFaulty_HungCallsAreReleased(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	_, k := up(t, s, f, patient)
	before := f.Processes()
	f.HangNext("C_Sign", 2)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := sign(k); err != nil {
				t.Errorf("a call that was released: %v", err)
			}
		})
	}
	f.Await("C_Sign", func(c hsmtest.Calls) bool { return c.Hung == 2 })
	f.Latency("C_DigestInit", time.Second, 0) // another change releases nobody
	for range 10 {
		if err := sign(k); err != nil {
			t.Errorf("beside the calls that hang: %v", err)
		}
	}
	if c := f.Stats()["C_Sign"]; c.Hung != 2 || c.AtWork != 0 {
		t.Errorf("%+v", c)
	}
	f.Release()
	wg.Wait()
	if now := f.Processes(); !slices.Equal(now, before) {
		t.Errorf("processes %v became %v", before, now)
	}
}

func TestFaulty_AProcessThatHangsIsReplaced(t *testing.T) {
	s := hsmtest.New(t)
	for name, c := range map[string]struct {
		hang func(*hsmtest.Faulty)
		want error
	}{
		"all calls":          {func(f *hsmtest.Faulty) { f.Hang("C_Sign") }, hsm.ErrTimeout},
		"one call, for good": {func(f *hsmtest.Faulty) { f.HangForGood("C_Sign", 1) }, nil}, // it is made by the replacement
	} {
		t.Run(name, func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			_, k := up(t, s, f, impatient(t, s, f))
			before := f.Processes()
			c.hang(f)
			if err := sign(k); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			f.Heal()
			eventually(t, k)
			f.Await("*", func(hsmtest.Calls) bool { return len(f.Processes()) == 1 })
			if now := f.Processes(); slices.Equal(now, before) {
				t.Errorf("it is still process %v", now)
			}
			f.Await("*", func(c hsmtest.Calls) bool { return c.UnderWay == 0 && c.Hung == 0 })
		})
	}
}

// A library that connects to a device on the network may take long to
// initialise, at the start of the service too.
func TestFaulty_ASlowStartIsWaitedFor(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	f.Latency("C_Initialize", 3*time.Second, 0) // longer than a replacement is waited for
	_, k := up(t, s, f)
	if err := sign(k); err != nil {
		t.Error(err)
	}
}

func TestFaulty_ACrashIsOvercome(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	_, k := up(t, s, f)
	before := f.Processes()
	f.Crash("C_Sign")
	if err := sign(k); err != nil {
		t.Error(err)
	}
	if c := f.Stats()["C_Sign"]; c.Faulted != 1 || c.Made != 2 || c.UnderWay != 0 {
		t.Errorf("%+v", c)
	}
	f.Await("*", func(hsmtest.Calls) bool { return len(f.Processes()) == 1 })
	if now := f.Processes(); slices.Equal(now, before) {
		t.Errorf("it is still process %v", now)
	}
}

// A token that fails while its objects are read is not up with half of them: the
// process is not used, and the next one that reads them all is.
func TestFaulty_HalfAnInventoryIsNone(t *testing.T) {
	s := hsmtest.New(t)
	for _, rv := range []uint{hsmtest.CKR_DEVICE_ERROR, hsmtest.CKR_GENERAL_ERROR} {
		for _, function := range []string{"C_GetAttributeValue", "C_FindObjects"} {
			t.Run(fmt.Sprintf("%s %#x", function, rv), func(t *testing.T) {
				f := hsmtest.NewFaulty(t, s)
				token, k := up(t, s, f)
				whole := token.Inventory()
				f.Return(function, rv, 3)
				f.Crash("C_Sign")
				_ = sign(k) // lost with its process; what replaces it fails thrice first
				eventually(t, k)
				if inv := token.Inventory(); len(inv.Keys) != len(whole.Keys) || len(inv.Certificates) != len(whole.Certificates) {
					t.Errorf("it is up with %d keys and %d certificates", len(inv.Keys), len(inv.Certificates))
				}
				if c := f.Stats()[function]; c.Faulted != 3 {
					t.Errorf("%s failed %d times: this shows nothing", function, c.Faulted)
				}
			})
		}
	}
}

func TestFaulty_AProcessThatCannotReadTheTokenIsReplaced(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f, func(c *hsm.Config) { c.OpenTimeout = 2 * time.Second })
	for name, fault := range map[string]func(){
		"an error": func() { f.Return("C_FindObjectsInit", hsmtest.CKR_DEVICE_ERROR, 3) },
		"a hang":   func() { f.HangForGood("C_FindObjectsInit", 1) },
	} {
		before := f.Processes()
		fault()
		if err := token.Rescan(t.Context()); err == nil {
			t.Errorf("%s: the token was read", name)
		}
		f.Await("*", func(hsmtest.Calls) bool { now := f.Processes(); return len(now) == 1 && !slices.Equal(now, before) })
		eventually(t, k)
	}
}

// A token that lets itself be opened, and then fails or hangs at each signature,
// is down: what asks for one learns that at once, and need not find out by itself.
func TestFaulty_ATokenThatSignsNoMoreIsDown(t *testing.T) {
	s := hsmtest.New(t)
	for name, fault := range map[string]func(*hsmtest.Faulty){
		"an error": func(f *hsmtest.Faulty) { f.Return("C_Sign", hsmtest.CKR_DEVICE_ERROR, 0) },
		"a hang":   func(f *hsmtest.Faulty) { f.Hang("C_Sign") },
		"a crash":  func(f *hsmtest.Faulty) { f.CrashAlways("C_Sign") },
	} {
		t.Run(name, func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			token, k := up(t, s, f, impatient(t, s, f))
			if err := sign(k); err != nil {
				t.Fatal(err)
			}
			fault(f)
			if err := sign(k); err == nil {
				t.Error("it signed")
			}
			eventuallyTrue(t, "the token is down", func() bool { state, _ := token.State(); return state == hsm.Down })
			made := f.Stats()["C_Login"].Made
			for f.Stats()["C_Login"].Made < made+2 { // also while it is tried anew
				if err := sign(k); !errors.Is(err, hsm.ErrDown) {
					t.Fatalf("got %v, want ErrDown", err)
				}
				time.Sleep(time.Millisecond)
			}
			f.Heal()
			eventually(t, k)
		})
	}
}

// A process takes longer to be replaced than a signature waits: the token is
// down, for which another one is tried, and not busy.
func TestFaulty_ATokenThatIsSlowToComeBackIsNotBusy(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	_, k := up(t, s, f, impatient(t, s, f))
	f.Hang("C_Login")
	if err := syscall.Kill(f.Processes()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := sign(k); !errors.Is(err, hsm.ErrDown) || errors.Is(err, hsm.ErrBusy) {
		t.Errorf("got %v, want ErrDown", err)
	}
	f.Heal()
	eventually(t, k)
}

// A device that always takes long to log in is waited for when a process is
// replaced, too: that costs no signature.
func TestFaulty_AReplacementMayTakeAsLongAsTheProcessBefore(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	f.Latency("C_Login", 2500*time.Millisecond, 0) // more than is waited for without that
	_, k := up(t, s, f, patient)
	if err := syscall.Kill(f.Processes()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := sign(k); err != nil {
		t.Error(err)
	}
}

// What a key is refused says nothing against the token.
func TestFaulty_AProcessIsUsedThoughItsTestSignatureIsRefused(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f)
	if err := sign(k); err != nil {
		t.Fatal(err)
	}
	f.Return("C_SignInit", hsmtest.CKR_KEY_FUNCTION_NOT_PERMITTED, 0)
	if err := syscall.Kill(f.Processes()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	f.Await("C_Login", func(c hsmtest.Calls) bool { return c.Made == 2 })
	eventuallyTrue(t, "the token is up", func() bool { state, _ := token.State(); return state == hsm.Up })
}

func TestFaulty_ACrashLeavesNoTraceInTheLog(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	f.CrashAlways("C_Login")
	token, logs := run(t, s, f)
	err := token.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "SIGSEGV") {
		t.Errorf("the reason is %v, want SIGSEGV in it", err)
	}
	for _, trace := range []string{"goroutine ", "_Cfunc_", "rip ", "gs "} {
		if strings.Contains(logs.String(), trace) {
			t.Errorf("%q is in the log:\n%s", trace, logs)
		}
	}
}

func TestFaulty_WhatIsLostComesWithANewProcess(t *testing.T) {
	s := hsmtest.New(t)
	for name, lose := range map[string]func(*hsmtest.Faulty){
		"sessions": (*hsmtest.Faulty).LoseSessions,
		"login":    (*hsmtest.Faulty).LoseLogin,
		"module":   (*hsmtest.Faulty).Wedge,
	} {
		t.Run(name, func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			_, k := up(t, s, f)
			if err := sign(k); err != nil { // opens a session that can be lost
				t.Fatal(err)
			}
			before := f.Processes()
			lose(f)
			if err := sign(k); err != nil {
				t.Error(err)
			}
			stats := f.Stats()
			// A device error is tried again at the same process at first; a session that
			// is gone is gone.
			most := 1
			if name == "module" {
				most = 3
			}
			if n := stats["*"].Faulted; n < 1 || n > most || stats["C_Login"].Made != 2 {
				t.Errorf("%+v", stats)
			}
			if now := f.Processes(); slices.Equal(now, before) {
				t.Errorf("it is still process %v", now)
			}
		})
	}
}

func TestFaulty_TheTokenVanishesAndReturns(t *testing.T) {
	s := hsmtest.NewSoftHSM(t) // its module shows no other token
	f := hsmtest.NewFaulty(t, s)
	_, k := up(t, s, f)
	f.Vanish()
	if err := sign(k); err == nil {
		t.Error("a token that is not there signed")
	}
	c := hsm.Config{Settings: wire.Settings{Module: f.Module}, Environment: f.Environment, Dir: s.Dir}
	slots, err := hsm.Slots(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil || len(slots) != 0 {
		t.Errorf("%d slots, %v", len(slots), err)
	}
	f.Reappear()
	slots, err = hsm.Slots(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil || len(slots) != 1 {
		t.Errorf("%d slots after the return, %v", len(slots), err)
	}
	eventually(t, k)
}

// A slot that cannot be read may hold the token: that is what is said, and not
// that there is no such token.
func TestFaulty_ASlotThatCannotBeReadIsNamed(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	f.Return("C_GetTokenInfo", hsmtest.CKR_DEVICE_ERROR, 0)
	const want = "could not be read: pkcs11: 0x30: CKR_DEVICE_ERROR"
	token, _ := run(t, s, f)
	var e *hsm.Error
	if err := token.Ready(t.Context()); !errors.As(err, &e) || !strings.Contains(e.Text, `no token has the label "edge", but slot `) || !strings.Contains(e.Text, want) {
		t.Errorf("got %v", err)
	}
	c := hsm.Config{Settings: wire.Settings{Module: f.Module}, Environment: f.Environment, Dir: s.Dir}
	if _, err := hsm.Slots(t.Context(), c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("without a login: got %v", err)
	}
	f.Heal()
	eventuallyTrue(t, "the token is up", func() bool { state, _ := token.State(); return state == hsm.Up })
}

func TestFaulty_RefusesThePIN(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	f.RefusePIN()
	token, _ := run(t, s, f)
	if err := token.Ready(t.Context()); !errors.Is(err, hsm.ErrPIN) {
		t.Errorf("got %v", err)
	}
	if c := f.Stats()["C_Login"]; c.Made != 1 || c.Faulted != 1 {
		t.Errorf("%+v", c)
	}
}

// What fails before the token has looked at the PIN counts no try, and locks
// nothing; what may be a refusal by another name does.
func TestFaulty_WhichLoginsAreRefused(t *testing.T) {
	s := hsmtest.New(t)
	for name, c := range map[string]struct {
		rv     uint
		locked bool
	}{
		"token not present":   {hsmtest.CKR_TOKEN_NOT_PRESENT, false},
		"not initialised":     {hsmtest.CKR_CRYPTOKI_NOT_INITIALIZED, false},
		"too many sessions":   {hsmtest.CKR_SESSION_COUNT, false},
		"general error":       {hsmtest.CKR_GENERAL_ERROR, true},
		"function failed":     {hsmtest.CKR_FUNCTION_FAILED, true},
		"a vendor's own code": {0x80000123, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			f.Return("C_Login", c.rv, 0)
			token, _ := run(t, s, f)
			if err := token.Ready(t.Context()); errors.Is(err, hsm.ErrPIN) != c.locked {
				t.Errorf("got %v", err)
			}
			if !c.locked { // it is tried again
				f.Await("C_Login", func(c hsmtest.Calls) bool { return c.Made >= 2 })
			}
			if state, _ := token.State(); (state == hsm.Locked) != c.locked {
				t.Errorf("it is %s", state)
			}
		})
	}
}

func TestFaulty_ShowsTokenFlags(t *testing.T) {
	s := hsmtest.New(t)
	for name, flag := range map[string]uint{
		"one try left": hsmtest.CKF_USER_PIN_FINAL_TRY,
		"locked":       hsmtest.CKF_USER_PIN_LOCKED,
	} {
		t.Run(name, func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			f.TokenFlags(flag)
			token, _ := run(t, s, f)
			if err := token.Ready(t.Context()); !errors.Is(err, hsm.ErrPIN) {
				t.Errorf("got %v", err)
			}
			if n := f.Stats()["C_Login"].Made; n != 0 {
				t.Errorf("%d logins", n)
			}
		})
	}
}

func TestFaulty_MakesWrongSignatures(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	_, k := up(t, s, f)
	f.WrongSignature(1)
	// Nothing has shown yet that the key is what it should be, so the token is not to blame.
	if err := sign(k); err != nil {
		t.Errorf("it was not made again: %v", err)
	}
	if c := f.Stats()["C_Sign"]; c.Made != 2 || c.Faulted != 1 {
		t.Errorf("%+v", c)
	}
}

func TestFaulty_PrintsGarbage(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	f.Garbage("C_Login", 1000)
	token, logs := run(t, s, f)
	if err := token.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(logs.String(), "~~~~") { // it comes by a pipe of its own
		time.Sleep(time.Millisecond)
	}
	if all := logs.String(); strings.Contains(all, s.PIN) {
		t.Errorf("the PIN shows: %s", all)
	}
}

func TestFaulty_SaysWhatItDoesNotUnderstand(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	lines := []string{
		"# a comment", "", "return.C_Sign=CKR_GENERAL_ERROR times:2 after",
		"explode=yes", "return.C_Frobnicate=5", "latency=5", "hang", "vanish.C_Sign=yes",
		"crash=maybe", "return=CKR_BAD_DAY", "parallel=3 times:2", "latency=1ms after",
	}
	if err := os.WriteFile(f.Control, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	token, logs := run(t, s, f)
	if err := token.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		told := fmt.Sprintf("line %d is left out", i+1)
		for i >= 3 && !strings.Contains(logs.String(), told) {
			time.Sleep(time.Millisecond)
		}
		if i < 3 && strings.Contains(logs.String(), told) {
			t.Errorf("line %d was not understood", i+1)
		}
	}
}

func TestFaulty_TellsOfMissingSettings(t *testing.T) {
	s := hsmtest.New(t)
	for name, c := range map[string]struct{ variable, value, want string }{
		"no module":      {"FAULTY_MODULE", "", "FAULTY_MODULE is not set"},
		"a wrong module": {"FAULTY_MODULE", "/nowhere.so", "cannot open shared object file"},
		"no control":     {"FAULTY_CONTROL", "", "FAULTY_CONTROL is not set"},
		"another ledger": {"FAULTY_STATS", s.PINFile, "is not a ledger"},
	} {
		t.Run(name, func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			f.Environment[c.variable] = c.value
			if c.variable == "FAULTY_STATS" {
				f.Environment[c.variable] = f.Control
				f.Garbage("C_Sign", 1) // so that it is not empty
			}
			token, logs := run(t, s, f)
			if err := token.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "CKR_GENERAL_ERROR") {
				t.Errorf("got %v", err)
			}
			for !strings.Contains(logs.String(), c.want) {
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// A token that is not there when its service starts is waited for; what time
// does not mend is not, and a refused PIN least of all.
func TestFaulty_ATokenThatIsLateIsAwaited(t *testing.T) {
	s := hsmtest.New(t)
	t.Run("comes", func(t *testing.T) {
		f := hsmtest.NewFaulty(t, s)
		f.Vanish()
		token, _ := run(t, s, f)
		if err := token.Ready(t.Context()); !hsm.Absent(err) {
			t.Fatalf("at first: %v", err)
		}
		f.Reappear()
		if err := token.Await(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("comes and refuses the PIN", func(t *testing.T) {
		f := hsmtest.NewFaulty(t, s)
		f.Vanish()
		f.RefusePIN()
		token, _ := run(t, s, f)
		if err := token.Ready(t.Context()); !hsm.Absent(err) {
			t.Fatalf("at first: %v", err)
		}
		f.Reappear()
		if err := token.Await(t.Context()); !errors.Is(err, hsm.ErrPIN) {
			t.Errorf("got %v", err)
		}
		if n := f.Stats()["C_Login"].Made; n != 1 {
			t.Errorf("%d logins", n)
		}
	})
	t.Run("stays away", func(t *testing.T) {
		f := hsmtest.NewFaulty(t, s)
		f.Vanish()
		token, _ := run(t, s, f)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := token.Await(ctx); err == nil || !strings.Contains(err.Error(), "no initialised token") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("is another one", func(t *testing.T) {
		f := hsmtest.NewFaulty(t, s)
		token, _ := run(t, s, f, func(c *hsm.Config) { c.Settings.Label = "prod" })
		if err := token.Await(t.Context()); err == nil || hsm.Absent(err) || !strings.Contains(err.Error(), `no token has the label "prod"`) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("crashes the library", func(t *testing.T) {
		f := hsmtest.NewFaulty(t, s)
		f.CrashAlways("C_Login")
		token, _ := run(t, s, f)
		if err := token.Await(t.Context()); err == nil || hsm.Absent(err) {
			t.Errorf("got %v", err)
		}
	})
}

// That a replacement takes long is no reason to give up a token that has not
// been up yet.
func TestFaulty_ASlowFirstLoginIsWaitedFor(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	f.Latency("C_Login", 2500*time.Millisecond, 0)
	token, _ := run(t, s, f)
	if err := token.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// A login that takes long is not taken for one that has failed.
func TestFaulty_UnlockWaitsForASlowLogin(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, _ := up(t, s, f)
	f.RefusePIN()
	if err := syscall.Kill(f.Processes()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for state, _ := token.State(); state != hsm.Locked; state, _ = token.State() {
		time.Sleep(time.Millisecond)
	}
	f.Heal()
	f.Latency("C_Login", 2500*time.Millisecond, 0)
	token.Unlock()
	if err := token.Settled(t.Context()); err != nil {
		t.Error(err)
	}
}
