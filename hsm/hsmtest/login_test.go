package hsmtest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
	"sallyport/hsm/wire"
)

func hasty(c *hsm.Config) { c.OpenTimeout = time.Second }

// A token that counts tries without showing it must not be locked by a library
// that crashes or hangs in the login: that is tried twice, and then no more
// until the operator says so.
func TestFaulty_LostLoginsLockTheToken(t *testing.T) {
	s := hsmtest.New(t)
	for name, lose := range map[string]func(*hsmtest.Faulty){
		"by a crash": func(f *hsmtest.Faulty) { f.CrashAlways("C_Login") },
		"by a hang":  func(f *hsmtest.Faulty) { f.HangForGood("C_Login", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := hsmtest.NewFaulty(t, s)
			lose(f)
			token, logs := run(t, s, f, hasty)
			if err := token.Ready(t.Context()); err == nil || errors.Is(err, hsm.ErrPIN) {
				t.Fatalf("the first: %v", err)
			}
			eventuallyTrue(t, "the token is locked", func() bool { state, _ := token.State(); return state == hsm.Locked })
			_, reason := token.State()
			var e *hsm.Error
			if !errors.As(reason, &e) || !errors.Is(e, hsm.ErrPIN) || e.Setting != "pin" || !strings.Contains(e.Text, "2 logins in a row had no answer") {
				t.Errorf("locked by %v", reason)
			}
			if n := f.Stats()["C_Login"].Made; n != 2 {
				t.Errorf("%d logins", n)
			}
			token.Unlock()
			f.Await("C_Login", func(c hsmtest.Calls) bool { return c.Made == 4 })
			eventuallyTrue(t, "the token is locked again", func() bool { state, _ := token.State(); return state == hsm.Locked })
			f.Heal()
			token.Unlock()
			eventuallyTrue(t, "the token is up", func() bool { state, _ := token.State(); return state == hsm.Up })
			if strings.Contains(logs.String(), s.PIN) {
				t.Error("the PIN shows in the log")
			}
		})
	}
}

// At the start nobody waits for signatures, and a device, or a person at its PIN
// pad, may take longer than a replacement.
func TestFaulty_ASlowLoginIsWaitedForAtTheStart(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	f.Latency("C_Login", 3*time.Second, 0)
	token, _ := run(t, s, f)
	if err := token.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// A good login between two lost ones begins the count anew.
func TestFaulty_OneLostLoginLocksNothing(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f)
	for range 3 {
		f.Crash("C_Login")
		f.Return("C_SignInit", hsmtest.CKR_SESSION_HANDLE_INVALID, 1)
		_ = sign(k) // its process is replaced by one that crashes
		eventually(t, k)
		if state, reason := token.State(); state != hsm.Up {
			t.Errorf("it is %s: %v", state, reason)
		}
	}
	if c := f.Stats()["C_Login"]; c.Faulted != 3 || c.Made != 7 {
		t.Errorf("%+v", c)
	}
}

// A device that is away, or a library that fails before or behind the login,
// costs no try however often it is looked for.
func TestFaulty_ADeviceThatIsAwayLocksNothing(t *testing.T) {
	s := hsmtest.New(t)
	for name, c := range map[string]struct {
		function string
		fault    func(f *hsmtest.Faulty, function string)
	}{
		"hangs before the login":   {"C_OpenSession", func(f *hsmtest.Faulty, fn string) { f.HangForGood(fn, 0) }},
		"crashes before the login": {"C_OpenSession", func(f *hsmtest.Faulty, fn string) { f.CrashAlways(fn) }},
		"fails in the login":       {"C_Login", func(f *hsmtest.Faulty, fn string) { f.Return(fn, hsmtest.CKR_DEVICE_REMOVED, 0) }},
		"crashes behind the login": {"C_FindObjectsInit", func(f *hsmtest.Faulty, fn string) { f.CrashAlways(fn) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := hsmtest.NewFaulty(t, s)
			c.fault(f, c.function)
			token, _ := run(t, s, f, hasty)
			f.Await(c.function, func(c hsmtest.Calls) bool { return c.Made >= 3 })
			if state, reason := token.State(); state == hsm.Locked {
				t.Errorf("it is locked: %v", reason)
			}
			f.Heal()
			eventuallyTrue(t, "the token is up", func() bool { state, _ := token.State(); return state == hsm.Up })
		})
	}
}

// What helps is another thing for each reason why a login is refused: to check the
// PIN of a token that has locked it helps nobody.
func TestFaulty_SaysWhatHelpsARefusedLogin(t *testing.T) {
	s := hsmtest.New(t)
	for name, c := range map[string]struct {
		fault func(*hsmtest.Faulty)
		want  string
		hint  string
	}{
		"wrong":                     {func(f *hsmtest.Faulty) { f.RefusePIN() }, "refuses the PIN", "correct the PIN in file:"},
		"locked at the login":       {func(f *hsmtest.Faulty) { f.Return("C_Login", hsmtest.CKR_PIN_LOCKED, 0) }, "has locked its PIN", "security officer"},
		"locked before it":          {func(f *hsmtest.Faulty) { f.TokenFlags(hsmtest.CKF_USER_PIN_LOCKED) }, "has locked its PIN", "security officer"},
		"expired":                   {func(f *hsmtest.Faulty) { f.Return("C_Login", hsmtest.CKR_PIN_EXPIRED, 0) }, "has expired", "set a new one"},
		"longer than any":           {func(f *hsmtest.Faulty) { f.Return("C_Login", hsmtest.CKR_PIN_LEN_RANGE, 0) }, "of this length", "nothing else"},
		"with one try left to lock": {func(f *hsmtest.Faulty) { f.TokenFlags(hsmtest.CKF_USER_PIN_FINAL_TRY) }, "one try left", "resets the count"},
	} {
		t.Run(name, func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			c.fault(f)
			token, _ := run(t, s, f)
			err := token.Ready(t.Context())
			var e *hsm.Error
			if !errors.As(err, &e) || !errors.Is(e, hsm.ErrPIN) || !strings.Contains(e.Text, c.want) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("got %v (%+v)", err, e)
			}
		})
	}
}

func TestFaulty_PINEnteredOnTheDevice(t *testing.T) {
	s := hsmtest.New(t)
	noPIN := func(c *hsm.Config) { c.Settings.PIN = wire.NoPIN }
	for name, c := range map[string]struct {
		pad    string // what is entered on the device; "": it has no pad
		change func(*hsm.Config)
		want   string // in the error; "": it opens
		hint   string
	}{
		"the right one":      {s.PIN, noPIN, "", ""},
		"a wrong one":        {"77778888", noPIN, "refuses a login without a PIN: pkcs11: 0xA0: CKR_PIN_INCORRECT", "was not entered on the device"},
		"not on the device":  {s.PIN, func(*hsm.Config) {}, "refuses the PIN: pkcs11: 0x7: CKR_ARGUMENTS_BAD", "pin: none"},
		"no device with pad": {"", noPIN, "refuses an empty PIN", "has no PIN pad"},
	} {
		t.Run(name, func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			if c.pad != "" {
				f.PED(c.pad)
			}
			token, logs := run(t, s, f, c.change)
			err := token.Ready(t.Context())
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *hsm.Error
			if !errors.As(err, &e) || !errors.Is(e, hsm.ErrPIN) || !strings.Contains(e.Text, c.want) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("got %v (%+v)", err, e)
			}
			if n := f.Stats()["C_Login"].Made; n != 1 {
				t.Errorf("%d logins", n)
			}
			for _, secret := range []string{s.PIN, "77778888"} {
				if strings.Contains(logs.String()+e.Text+e.Hint, secret) {
					t.Errorf("the PIN shows: %s", logs)
				}
			}
		})
	}
}
