package hsmtest_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
	"sallyport/hsm/wire"
)

// A device that fails one signature in a hundred, or in five, serves all that is asked
// of it by the one process that it has: what fails is made again.
func TestFaulty_ADeviceThatFailsNowAndThenServes(t *testing.T) {
	s := hsmtest.New(t)
	for name, every := range map[string]int{"one in a hundred": 100, "one in five": 5} {
		for _, function := range []string{"C_Sign", "C_SignInit"} {
			t.Run(name+", "+function, func(t *testing.T) {
				f := hsmtest.NewFaulty(t, s)
				token, k := up(t, s, f, patient)
				before := f.Processes()
				f.ReturnEvery(function, hsmtest.CKR_DEVICE_ERROR, every)
				for range 10 * every {
					if err := sign(k); err != nil {
						t.Fatal(err)
					}
				}
				if now := f.Processes(); !slices.Equal(now, before) {
					t.Errorf("processes %v became %v", before, now)
				}
				if c := f.Stats()[function]; c.Faulted < 10 {
					t.Errorf("%d calls failed: this shows nothing", c.Faulted)
				}
				if trouble := token.Status().Trouble; trouble.Err == nil || !strings.Contains(trouble.Err.Error(), "CKR_DEVICE_ERROR") {
					t.Errorf("the status says nothing of it: %v", trouble.Err)
				}
			})
		}
	}
}

// Nor is a token missed that fails to tell of itself once, as SoftHSM's does while another
// process logs in.
func TestFaulty_ATokenThatFailsToTellOfItselfOnceIsFound(t *testing.T) {
	s := hsmtest.New(t)
	for _, rv := range []uint{hsmtest.CKR_GENERAL_ERROR, hsmtest.CKR_DEVICE_ERROR} {
		f := hsmtest.NewFaulty(t, s)
		f.Return("C_GetTokenInfo", rv, 1)
		c := hsm.Config{Settings: wire.Settings{Module: f.Module}, Environment: f.Environment, Dir: s.Dir}
		slots, err := hsm.Slots(t.Context(), c, slog.New(slog.DiscardHandler))
		if err != nil || len(slots) != 1 {
			t.Errorf("%#x: %d slots, %v", rv, len(slots), err)
		}
		if c := f.Stats()["C_GetTokenInfo"]; c.Faulted != 1 {
			t.Errorf("%#x: %+v", rv, c)
		}
	}
}

// Also with many signatures at once, where failures of several come in a row.
func TestFaulty_ManyAtOnceAtADeviceThatFailsNowAndThen(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f, patient)
	f.ReturnEvery("C_Sign", hsmtest.CKR_DEVICE_ERROR, 10)
	stop := traffic(t, 8, k)
	f.Await("C_Sign", func(c hsmtest.Calls) bool { return c.Faulted >= 50 })
	stop()
	if state, reason := token.State(); state != hsm.Up {
		t.Errorf("it is %s: %v", state, reason)
	}
}

// Where failing is the rule, a process is worth nothing.
func TestFaulty_AProcessThatMostlyFailsIsReplaced(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f, patient)
	before := f.Processes()
	f.Return("C_Sign", hsmtest.CKR_DEVICE_ERROR, 3)
	if err := sign(k); err != nil {
		t.Fatal(err)
	}
	if now := f.Processes(); slices.Equal(now, before) {
		t.Errorf("it is still process %v", now)
	}
	if n := token.Status().Restarts; n != 1 {
		t.Errorf("%d processes were replaced, want 1", n)
	}
}

// A process that served well is replaced at once, however often that happens: the
// token is not down for a moment.
func TestFaulty_AProcessThatServedWellIsReplacedWithoutAPause(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f, patient)
	const often = 8 // more than are replaced at once otherwise
	for range often {
		for range 40 {
			if err := sign(k); err != nil {
				t.Fatal(err)
			}
		}
		f.Crash("C_Sign")
		if err := sign(k); err != nil {
			t.Fatal(err)
		}
	}
	if n := token.Status().Restarts; n != often {
		t.Errorf("%d processes were replaced, want %d", n, often)
	}
}
