package hsmtest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// A wrong signature reaches nobody, whatever is wrong with it, and the token that
// gave it is down with the reason.
func TestFaulty_AWrongSignatureReachesNobody(t *testing.T) {
	s := hsmtest.New(t)
	for _, how := range []string{"yes", "zeros", "short", "long"} {
		for name, c := range map[string]struct {
			label string
			opts  crypto.SignerOpts
		}{
			"ECDSA":       {"ec", crypto.SHA256},
			"PKCS#1 v1.5": {"rsa", crypto.SHA256},
			"PSS":         {"rsa", &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}},
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				f := hsmtest.NewFaulty(t, s)
				token, logs := run(t, s, f)
				if err := token.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				u, err := hsm.ParseURI("pkcs11:object=" + c.label)
				if err != nil {
					t.Fatal(err)
				}
				keys, _, err := hsm.FindKeys([]*hsm.Token{token}, u)
				if err != nil {
					t.Fatal(err)
				}
				digest := sha256.Sum256([]byte("message"))
				if _, err := keys[0].Sign(nil, digest[:], c.opts); err != nil { // as its proof does
					t.Fatal(err)
				}
				f.SpoilSignatures(how)
				for range 3 {
					signature, err := keys[0].Sign(nil, digest[:], c.opts)
					if err == nil {
						t.Fatalf("it gave %x", signature)
					}
					if !errors.Is(err, hsm.ErrDown) && !errors.Is(err, hsm.ErrUnfit) || !strings.Contains(err.Error(), "the token gave a wrong signature") {
						t.Errorf("got %v", err)
					}
				}
				eventuallyTrue(t, "the token is down", func() bool {
					return strings.Contains(logs.String(), `to=down reason="the token gave a wrong signature`)
				})
				if trouble := token.Status().Trouble; trouble.Err == nil || !strings.Contains(trouble.Err.Error(), "wrong signature") {
					t.Errorf("the status says %v", trouble.Err)
				}
				for _, want := range []string{"level=ERROR", "the token gave a wrong signature and is not used", "key=" + c.label} {
					if !strings.Contains(logs.String(), want) {
						t.Errorf("the log lacks %q", want)
					}
				}
			})
		}
	}
}

// A token that gave a wrong signature comes back by many right ones, and not before.
func TestFaulty_ATokenThatGaveAWrongSignatureMakesAmends(t *testing.T) {
	t.Parallel() // it waits for a pause
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f)
	if err := sign(k); err != nil {
		t.Fatal(err)
	}
	f.WrongSignature(1)
	if err := sign(k); !errors.Is(err, hsm.ErrDown) {
		t.Fatalf("got %v", err)
	}
	f.ResetStats()
	eventuallyTrue(t, "it is up again", func() bool { state, _ := token.State(); return state == hsm.Up })
	if c := f.Stats()["C_Sign"]; c.Made < 64 {
		t.Errorf("it had to make %d signatures", c.Made)
	}
	if err := sign(k); err != nil {
		t.Error(err)
	}
}

// A key whose public half on the token is another one's is unfit; the token is not to
// blame, nor the other keys.
func TestFaulty_AKeyWithAStrangersPublicHalfIsUnfit(t *testing.T) {
	s := hsmtest.New(t)
	s.GenerateKey("strange", "31", "EC:prime256v1")
	s.Tool("--delete-object", "--type", "pubkey", "--id", "31")
	s.WriteCertificate("ec", "31", s.Issue(s.Public("ec", "02").(*ecdsa.PublicKey), nil))
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f)
	u, err := hsm.ParseURI("pkcs11:object=strange")
	if err != nil {
		t.Fatal(err)
	}
	strange, _, err := hsm.FindKeys([]*hsm.Token{token}, u)
	if err != nil {
		t.Fatal(err)
	}
	if err := sign(strange[0]); !errors.Is(err, hsm.ErrUnfit) || !strings.Contains(err.Error(), "does not verify") {
		t.Errorf("got %v", err)
	}
	if err := sign(k); err != nil {
		t.Error(err)
	}
	if state, reason := token.State(); state != hsm.Up {
		t.Errorf("it is %s: %v", state, reason)
	}
}

// A private key that was replaced, without the certificate that tells of its public half,
// is unfit. The token's other keys are served, after the one pause that it takes to tell.
func TestFaulty_AReplacedPrivateKeyIsUnfitAndNotItsToken(t *testing.T) {
	t.Parallel() // it waits for a pause
	s := hsmtest.NewSoftHSM(t)
	s.WriteCertificate("ec", "02", s.Issue(s.Public("ec", "02"), nil))
	s.Tool("--delete-object", "--type", "pubkey", "--id", "02")
	s.GenerateKey("other", "31", "EC:prime256v1")
	token, k := up(t, s, hsmtest.NewFaulty(t, s))
	if err := sign(k); err != nil {
		t.Fatal(err)
	}
	s.Tool("--delete-object", "--type", "privkey", "--id", "02")
	s.GenerateKey("ec", "02", "EC:prime256v1")
	s.Tool("--delete-object", "--type", "pubkey", "--id", "02")
	if err := token.Rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sign(k); !errors.Is(err, hsm.ErrDown) {
		t.Fatalf("got %v", err)
	}
	eventuallyTrue(t, "the token is up again", func() bool { state, _ := token.State(); return state == hsm.Up })
	if err := sign(k); !errors.Is(err, hsm.ErrUnfit) {
		t.Errorf("got %v", err)
	}
	u, err := hsm.ParseURI("pkcs11:object=other")
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := hsm.FindKeys([]*hsm.Token{token}, u)
	if err != nil {
		t.Fatal(err)
	}
	if err := sign(other[0]); err != nil {
		t.Error(err)
	}
	if state, reason := token.State(); state != hsm.Up {
		t.Errorf("it is %s: %v", state, reason)
	}
}

// A slow device may take longer to make amends than to open.
func TestFaulty_ASlowTokenMakesAmendsToo(t *testing.T) {
	t.Parallel() // it waits for a pause
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f, func(c *hsm.Config) { c.OpenTimeout = 5 * time.Second })
	if err := sign(k); err != nil {
		t.Fatal(err)
	}
	f.Latency("C_Sign", 100*time.Millisecond, 0) // 64 of them are more than 5 s
	f.WrongSignature(1)
	if err := sign(k); !errors.Is(err, hsm.ErrDown) {
		t.Fatalf("got %v", err)
	}
	f.ResetStats()
	eventuallyTrue(t, "it is up again", func() bool { state, _ := token.State(); return state == hsm.Up })
	if n := f.Stats()["C_Initialize"].Made; n != 1 {
		t.Errorf("it took %d processes", n)
	}
}

// And it is down as a whole, however many processes it has.
func TestFaulty_AWrongTestSignaturePutsAllProcessesDown(t *testing.T) {
	t.Parallel() // it waits for a pause
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, logs := run(t, s, f, func(c *hsm.Config) { c.Processes = 2 })
	if err := sign(keyOf(t, token)); err != nil {
		t.Fatal(err)
	}
	if err := token.Whole(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.WrongSignature(1)
	if err := syscall.Kill(f.Processes()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventuallyTrue(t, "the token is down", func() bool {
		return strings.Contains(logs.String(), "to=down")
	})
	eventuallyTrue(t, "it is up again", func() bool { state, _ := token.State(); return state == hsm.Up })
}

// A key that gave wrong signatures alone, and then right ones again, is known as before.
func TestFaulty_AKeyIsKnownAgainByItsNextRightSignature(t *testing.T) {
	t.Parallel() // it waits for a pause
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f)
	if err := sign(k); err != nil {
		t.Fatal(err)
	}
	f.SpoilSignatures("yes")
	if err := sign(k); !errors.Is(err, hsm.ErrDown) {
		t.Fatalf("got %v", err)
	}
	eventuallyTrue(t, "it is up again", func() bool { state, _ := token.State(); return state == hsm.Up })
	if err := sign(k); !errors.Is(err, hsm.ErrUnfit) {
		t.Errorf("got %v", err)
	}
	f.Heal()
	if err := sign(k); err != nil {
		t.Fatal(err)
	}
	f.WrongSignature(1)
	if err := sign(k); !errors.Is(err, hsm.ErrDown) {
		t.Errorf("got %v", err)
	}
}

// Signatures that the device does not make are no right ones.
func TestFaulty_FailuresMakeNoAmends(t *testing.T) {
	t.Parallel() // it waits for a pause
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f)
	if err := sign(k); err != nil {
		t.Fatal(err)
	}
	f.WrongSignature(1)
	if err := sign(k); !errors.Is(err, hsm.ErrDown) {
		t.Fatalf("got %v", err)
	}
	f.ResetStats()
	f.Return("C_Sign", hsmtest.CKR_DEVICE_ERROR, 60)
	eventuallyTrue(t, "it is up again", func() bool { state, _ := token.State(); return state == hsm.Up })
	if c := f.Stats()["C_Sign"]; c.Made-c.Faulted < 64 {
		t.Errorf("of %d signatures %d failed", c.Made, c.Faulted)
	}
}

// What a new process shows itself by may be wrong as well: the token is left alone for a
// pause, and makes amends.
func TestFaulty_AWrongTestSignaturePutsTheTokenDown(t *testing.T) {
	t.Parallel() // it waits for a pause
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, logs := run(t, s, f)
	k := keyOf(t, token)
	if err := sign(k); err != nil {
		t.Fatal(err)
	}
	f.SpoilSignatures("yes")
	f.ResetStats()
	f.LoseSessions()
	if err := sign(k); err == nil {
		t.Fatal("it has signed")
	}
	eventuallyTrue(t, "the token is down", func() bool { return strings.Contains(logs.String(), "gave a wrong signature and is not used") })
	f.Heal()
	eventuallyTrue(t, "it is up again", func() bool { state, _ := token.State(); return state == hsm.Up })
	if c := f.Stats()["C_Sign"]; c.Made-c.Faulted < 64 {
		t.Errorf("of %d signatures %d failed", c.Made, c.Faulted)
	}
	if n := f.Stats()["C_Initialize"].Made; n > 4 {
		t.Errorf("%d processes were started for it", n)
	}
}

// A signature that is longer than the public key says leaves its session as it was:
// the other keys sign by it, and no process is replaced.
func TestFaulty_ASignatureTooLongForItsKeyCostsNoSession(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	s.GenerateKey("small", "31", "rsa:2048")
	s.WriteCertificate("large", "32", s.Issue(s.Public("small", "31"), nil))
	s.GenerateKey("large", "32", "rsa:3072")
	s.Tool("--delete-object", "--type", "pubkey", "--id", "32")
	f := hsmtest.NewFaulty(t, s)
	token, k := up(t, s, f)
	u, err := hsm.ParseURI("pkcs11:object=large")
	if err != nil {
		t.Fatal(err)
	}
	large, _, err := hsm.FindKeys([]*hsm.Token{token}, u)
	if err != nil {
		t.Fatal(err)
	}
	before := f.Processes()
	for range 10 { // more than there are sessions
		if err := sign(large[0]); !errors.Is(err, hsm.ErrUnfit) {
			t.Fatalf("got %v", err)
		}
		if err := sign(k); err != nil {
			t.Fatal(err)
		}
	}
	if now := f.Processes(); !slices.Equal(now, before) {
		t.Errorf("processes %v became %v", before, now)
	}
}
