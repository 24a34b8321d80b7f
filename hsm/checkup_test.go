package hsm_test

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
	"sallyport/hsm/wire"
)

// onFaulty is a token's configuration by way of a module that fails on command.
func onFaulty(t *testing.T, s *hsmtest.Token) (hsm.Config, *hsmtest.Faulty) {
	t.Helper()
	f := hsmtest.NewFaulty(t, s)
	c := configOf(s)
	c.Settings.Module, c.Environment = f.Module, f.Environment
	return c, f
}

// try tries the token's key of that label.
func try(t *testing.T, token *hsm.Token, label string) hsm.Ability {
	t.Helper()
	keys := token.Inventory().Keys
	i := slices.IndexFunc(keys, func(k wire.Key) bool { return k.Label == label })
	if i < 0 {
		t.Fatalf("the token holds no key %q", label)
	}
	return token.TryKey(t.Context(), keys[i])
}

func TestToken_SaysWhatItIs(t *testing.T) {
	c, f := onFaulty(t, hsmtest.NewSoftHSM(t))
	f.TokenFlags(hsmtest.CKF_USER_PIN_COUNT_LOW)
	e, err := up(t, c).Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(e.Library.Version, "2.") || e.Library.Manufacturer != "SoftHSM" || e.Firmware == "" {
		t.Errorf("library %+v, firmware %q", e.Library, e.Firmware)
	}
	if !e.Flags.LoginRequired || !e.Flags.PINInitialized || !e.Flags.PINCountLow || e.Flags.PINLocked {
		t.Errorf("flags %+v", e.Flags)
	}
	if e.Opening.Wanted != 4 || e.Opening.Opened != 4 || e.Opening.Slowest < e.Opening.Median || e.Opening.Reason != "" {
		t.Errorf("sessions %+v", e.Opening)
	}
	for _, name := range []string{"CKM_RSA_PKCS", "CKM_RSA_PKCS_PSS", "CKM_ECDSA", "CKM_SHA256_HMAC"} {
		if !slices.ContainsFunc(e.Mechanisms, func(m wire.Mechanism) bool { return m.Name == name && m.Listed && m.Sign && m.MaxKey > 0 }) {
			t.Errorf("%s is missing from %+v", name, e.Mechanisms)
		}
	}
}

func TestToken_SaysHowManySessionsOpen(t *testing.T) {
	c, f := onFaulty(t, hsmtest.NewSoftHSM(t))
	token := up(t, c)
	f.Return("C_OpenSession", hsmtest.CKR_SESSION_COUNT, 0)
	e, err := token.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if e.Opening.Opened != 0 || !strings.Contains(e.Opening.Reason, "CKR_SESSION_COUNT") {
		t.Errorf("sessions %+v", e.Opening)
	}
}

// A token without a secret is tried with keys that it does not keep.
func TestToken_TriesSecretsOfTheSessionAlone(t *testing.T) {
	token := up(t, configOf(hsmtest.NewSoftHSM(t)))
	for range 2 { // the second time sees what the first one would have left
		l, err := token.Secrets(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Keys) != 0 || len(l.SessionKeys) != 2 {
			t.Fatalf("got %+v", l)
		}
		for _, k := range l.SessionKeys {
			if k.Reason != "" {
				t.Errorf("%s: %s", k.Mechanism, k.Reason)
			}
		}
	}
}

func TestToken_TriesItsSecrets(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	s.Tool("--keygen", "--key-type", "GENERIC:32", "--label", "tickets", "--id", "20")
	s.Tool("--keygen", "--key-type", "AES:32", "--label", "aes", "--id", "21")
	c, f := onFaulty(t, s)
	token := up(t, c)
	l, err := token.Secrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Keys) != 2 || l.Keys[0].Mechanism != "CKM_AES_CMAC" || l.Keys[1].Mechanism != "CKM_SHA256_HMAC" || len(l.SessionKeys) != 0 {
		t.Fatalf("got %+v", l)
	}
	for _, k := range l.Keys {
		if k.Reason != "" || k.Extractable || k.Took <= 0 {
			t.Errorf("%+v", k)
		}
	}
	f.WrongSignature(1)
	if l, err = token.Secrets(t.Context()); err != nil {
		t.Fatal(err)
	}
	const changing = "it gives another MAC each time"
	if a, b := l.Keys[0].Reason, l.Keys[1].Reason; a+b != changing {
		t.Errorf("got %q and %q, want %q of the one that was tried first", a, b, changing)
	}
	f.Return("C_Sign", hsmtest.CKR_MECHANISM_INVALID, 0)
	if l, err = token.Secrets(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, k := range slices.Concat(l.Keys, l.SessionKeys) {
		if !strings.Contains(k.Reason, "CKR_MECHANISM_INVALID") {
			t.Errorf("%+v", k)
		}
	}
}

// A library that hangs in a MAC costs a process, and no more.
func TestToken_AMACThatHangsIsGivenUp(t *testing.T) {
	c, f := onFaulty(t, hsmtest.NewSoftHSM(t))
	token := up(t, c)
	f.HangForGood("C_Sign", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := token.Secrets(ctx); !errors.Is(err, hsm.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
	if a := try(t, token, "ec"); a.Err != nil {
		t.Errorf("after it: %v", a.Err)
	}
	if _, err := token.Secrets(t.Context()); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestToken_TriesItsKeys(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	s.GenerateKey("p384", "03", "EC:secp384r1")
	s.GenerateKey("ed", "04", "EC:edwards25519")
	c, f := onFaulty(t, s)
	token := up(t, c)
	for label, want := range map[string]struct {
		schemes int
		scheme  tls.SignatureScheme
	}{
		"ec":   {3, tls.ECDSAWithP256AndSHA256},
		"p384": {3, tls.ECDSAWithP384AndSHA384},
		"rsa":  {6, tls.PSSWithSHA256},
	} {
		a := try(t, token, label)
		if a.Err != nil || len(a.Schemes) != want.schemes || len(a.Missing) != 0 || a.Scheme != want.scheme || !a.TLS13 {
			t.Errorf("%s: %+v", label, a)
		}
	}
	if a := try(t, token, "ed"); a.Key != nil || a.Err == nil || !strings.Contains(a.Err.Error(), "only RSA and EC keys") {
		t.Errorf("ed: %+v", a)
	}
	// PSS is tried before PKCS#1.
	f.Return("C_SignInit", hsmtest.CKR_MECHANISM_INVALID, 3)
	if a := try(t, token, "rsa"); a.Err != nil || a.TLS13 || len(a.Missing) != 3 || a.Scheme != tls.PKCS1WithSHA256 {
		t.Errorf("rsa without PSS: %+v", a)
	}
}

func TestKey_LoadGrowsWithSessionsOfASlowToken(t *testing.T) {
	const slow = 50 * time.Millisecond
	c, f := onFaulty(t, hsmtest.NewSoftHSM(t))
	token := up(t, c)
	f.Latency("C_Sign", slow, 0)
	a := try(t, token, "ec")
	rates := make(map[int]float64)
	for _, n := range []int{1, 4} {
		f.ResetStats()
		l := a.Key.Load(t.Context(), a.Scheme, n, 300*time.Millisecond)
		if l.Err != nil {
			t.Fatal(l.Err)
		}
		rates[n] = l.Rate
		calls := f.Stats()["C_Sign"]
		if calls.MostAtOnce != n || calls.Made != l.Signatures+n || l.AtOnce != n {
			t.Errorf("%d at once: %+v, of which the token saw %+v", n, l, calls)
		}
		if l.P50 < slow || l.P99 < l.P50 {
			t.Errorf("%d at once: half within %s, 99 %% within %s; the token takes %s", n, l.P50, l.P99, slow)
		}
	}
	if rates[4] <= rates[1] {
		t.Errorf("4 at once make %.0f signatures per second, 1 makes %.0f", rates[4], rates[1])
	}
	if token.Sessions() != 4 {
		t.Errorf("%d sessions, want 4", token.Sessions())
	}
}

func TestKey_LoadCountsSlowSignatures(t *testing.T) {
	c, f := onFaulty(t, hsmtest.NewSoftHSM(t))
	a := try(t, up(t, c), "ec")
	f.SlowTail("C_Sign", hsm.SlowSignature, 1)
	if l := a.Key.Load(t.Context(), a.Scheme, 2, 0); l.Err != nil || l.Slow != 2 || l.Signatures != 2 || l.Slowest < hsm.SlowSignature {
		t.Errorf("%+v", l)
	}
}

func TestKey_LoadTellsOfFailures(t *testing.T) {
	c, f := onFaulty(t, hsmtest.NewSoftHSM(t))
	a := try(t, up(t, c), "rsa")
	if l := a.Key.Load(t.Context(), tls.ECDSAWithP256AndSHA256, 1, 0); l.Err == nil {
		t.Error("a scheme of another type of key was taken")
	}
	f.WrongSignature(0)
	if l := a.Key.Load(t.Context(), a.Scheme, 4, 0); l.Err == nil || !strings.Contains(l.Err.Error(), "does not verify") {
		t.Errorf("wrong signatures: %+v", l)
	}
	f.Heal()
	a = try(t, up(t, c), "rsa")
	f.Return("C_Sign", hsmtest.CKR_KEY_FUNCTION_NOT_PERMITTED, 0)
	if l := a.Key.Load(t.Context(), a.Scheme, 4, 0); l.Err == nil || !strings.Contains(l.Err.Error(), "CKR_KEY_FUNCTION_NOT_PERMITTED") {
		t.Errorf("failing signatures: %+v", l)
	}
}

func TestToken_WholeWaitsForEveryProcess(t *testing.T) {
	c, f := onFaulty(t, hsmtest.NewSoftHSM(t))
	c.Processes = 2
	token, _ := start(t, c)
	if err := token.Whole(t.Context()); err != nil || token.Sessions() != 8 {
		t.Errorf("%d sessions, %v", token.Sessions(), err)
	}
	f.Return("C_Login", hsmtest.CKR_DEVICE_REMOVED, 0)
	again, _ := start(t, c)
	if err := again.Whole(t.Context()); err == nil || !strings.Contains(err.Error(), "CKR_DEVICE_REMOVED") {
		t.Errorf("got %v, want why they are not up", err)
	}
}

// A token that opens more slowly than a replacement may take is not down.
func TestToken_ReadyWaitsForASlowLogin(t *testing.T) {
	c, f := onFaulty(t, hsmtest.NewSoftHSM(t))
	f.Latency("C_Login", 3*time.Second, 0)
	token, _ := start(t, c)
	if err := token.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}
