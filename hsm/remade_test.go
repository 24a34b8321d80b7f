package hsm_test

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

func softhsm(t *testing.T, s *hsmtest.Token, args ...string) {
	t.Helper()
	cmd := exec.Command("softhsm2-util", args...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+s.Environment["SOFTHSM2_CONF"])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// SoftHSM goes on showing a token that was deleted. What a new process finds is
// what there is.
func TestKeyring_FollowsATokenThatIsMadeAnewUnderItsLabel(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	token := up(t, configOf(s))
	r, c, _ := keep(t, token, time.Now(), hsm.Entry{Key: uri(t, "pkcs11:token=edge;object=ec")})
	before := token.Inventory().Token.Serial

	softhsm(t, s, "--delete-token", "--token", "edge")
	softhsm(t, s, "--init-token", "--free", "--label", "edge", "--pin", s.PIN, "--so-pin", "33334444")
	if round := rescan(t, r); len(round.Unread) != 1 || !strings.Contains(round.Unread["edge"].Error(), "deleted") {
		t.Errorf("the reading tells %v, %v", round.Changes, round.Unread)
	}
	eventually(t, "a new process opens the new token", func() bool {
		state, _ := token.State()
		return state == hsm.Up && token.Inventory().Token.Serial != before
	})
	rescan(t, r)
	if err := c.Ready(); !errors.Is(err, hsm.ErrNoKey) || !strings.Contains(err.Error(), "no longer on token edge") {
		t.Errorf("without any key, ready: %v", err)
	}

	s.GenerateKey("ec", "02", "EC:prime256v1")
	leaf := s.Issue(s.Public("ec", "02"), nil)
	s.WriteCertificate("ec", "02", leaf)
	rescan(t, r)
	if err := c.Ready(); err != nil {
		t.Errorf("with a new key: %v", err)
	}
	if got, err := sign(t, c.Certificate); err != nil || !got.Equal(leaf) {
		t.Errorf("the new key is not served: %v", err)
	}
}

// What a library shows of a token, and how a process is replaced for it.
func TestToken_IsOpenedAnewWhenItIsNoLongerTheSame(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	for name, c := range map[string]struct {
		happens func(*hsmtest.Faulty)
		want    string
	}{
		"another token in its slot":     {func(f *hsmtest.Faulty) { f.TokenSerial("0123456789abcdef") }, `serial "0123456789abcdef", where there was`},
		"a token that is blank":         {func(f *hsmtest.Faulty) { f.TokenFlagsOff(hsmtest.CKF_TOKEN_INITIALIZED) }, "no longer initialised"},
		"a login that is gone":          {func(f *hsmtest.Faulty) { f.LoseLogin() }, "its login is gone"},
		"a slot without a token":        {func(f *hsmtest.Faulty) { f.Return("C_GetTokenInfo", hsmtest.CKR_TOKEN_NOT_PRESENT, 1) }, "deleted or taken out"},
		"a session that cannot be had":  {func(f *hsmtest.Faulty) { f.Return("C_OpenSession", hsmtest.CKR_DEVICE_REMOVED, 1) }, "open a session"},
		"objects that cannot be listed": {func(f *hsmtest.Faulty) { f.Return("C_FindObjects", hsmtest.CKR_SESSION_CLOSED, 1) }, "list objects"},
	} {
		t.Run(name, func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			config := configOf(s)
			config.Settings.Module, config.Environment = f.Module, f.Environment
			token := up(t, config)
			if err := token.Rescan(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.happens(f)
			if err := token.Rescan(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			f.Heal()
			eventually(t, "a new process is up", func() bool {
				st := token.Status()
				return st.State == hsm.Up && st.Restarts > 0
			})
			if err := token.Rescan(t.Context()); err != nil {
				t.Errorf("the new process: %v", err)
			}
		})
	}
}

// Between C_InitToken and C_InitPIN a token has no user PIN. That is no PIN that
// was refused: the login is tried again until there is one.
func TestToken_WaitsForItsUserPIN(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	f := hsmtest.NewFaulty(t, s)
	config := configOf(s)
	config.Settings.Module, config.Environment = f.Module, f.Environment
	f.Return("C_Login", hsmtest.CKR_USER_PIN_NOT_INITIALIZED, 1)
	token, _ := start(t, config)
	if err := token.Ready(t.Context()); err == nil || errors.Is(err, hsm.ErrPIN) || !hsm.Absent(err) || !strings.Contains(err.Error(), "no user PIN yet") {
		t.Errorf("got %v", err)
	}
	eventually(t, "it is up", func() bool { state, _ := token.State(); return state == hsm.Up })
}

// A key that has left its token is not asked while another one will do.
func TestCertificates_AKeyThatIsGoneComesLast(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	token := up(t, configOf(s))
	r := hsm.NewKeyring([]*hsm.Token{token}, time.Hour, slog.New(slog.DiscardHandler))
	c, problems := r.Add(t.Context(), "www", []hsm.Entry{{Key: uri(t, "pkcs11:object=ec")}, {Key: uri(t, "pkcs11:object=rsa")}}, time.Now())
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for _, kind := range []string{"privkey", "pubkey", "cert"} {
		s.Tool("--delete-object", "--type", kind, "--id", "02")
	}
	rescan(t, r)
	if got := certificateFor(t, c); got.Leaf.PublicKeyAlgorithm != x509.RSA {
		t.Errorf("the key that is gone is chosen: %s", got.Leaf.PublicKeyAlgorithm)
	}
	if err := c.Ready(); err != nil {
		t.Errorf("not ready with the other key: %v", err)
	}
}

// A private key that was replaced under the certificate of the one before is no longer
// proved: its site says so, and the others of the token are served.
func TestKeyring_ProvesAKeyAnewThatIsAnotherOne(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	s.Tool("--delete-object", "--type", "pubkey", "--id", "02")
	token := up(t, configOf(s))
	r, c, _ := keep(t, token, time.Now(), hsm.Entry{Key: uri(t, "pkcs11:object=ec")})
	if _, err := sign(t, c.Certificate); err != nil {
		t.Fatalf("it is not served: %v", err)
	}
	s.Tool("--delete-object", "--type", "privkey", "--id", "02")
	s.GenerateKey("ec", "02", "EC:prime256v1")
	s.Tool("--delete-object", "--type", "pubkey", "--id", "02")
	rescan(t, r)
	if _, err := sign(t, c.Certificate); err == nil {
		t.Fatal("it signs")
	}
	eventually(t, "the token is up again", func() bool { state, _ := token.State(); return state == hsm.Up })
	rescan(t, r)
	if err := c.Ready(); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("ready to sign with another key than the certificate's: %v", err)
	}
}
