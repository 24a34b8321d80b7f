package hsm_test

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// keep runs a keyring with one site of one entry until the test ends. Now is
// when the site is said to be added.
func keep(t *testing.T, token *hsm.Token, now time.Time, e hsm.Entry) (*hsm.Keyring, *hsm.Certificates, *logBuffer) {
	t.Helper()
	logs := new(logBuffer)
	r := hsm.NewKeyring([]*hsm.Token{token}, time.Hour, slog.New(slog.NewTextHandler(logs, nil)))
	c, problems := r.Add(t.Context(), "www", []hsm.Entry{e}, now)
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if _, err := r.RescanNow(context.Background()); err == nil {
			t.Error("a keyring that does not run reads tokens")
		}
	})
	return r, c, logs
}

func rescan(t *testing.T, r *hsm.Keyring) hsm.Round {
	t.Helper()
	round, err := r.RescanNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return round
}

// whats are the kinds of a round's changes.
func whats(r hsm.Round) (all []hsm.What) {
	for _, c := range r.Changes {
		all = append(all, c.What)
	}
	return all
}

// gauges are the values of a metric's series.
func gauges(t *testing.T, c prometheus.Collector, name string) (values []float64) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			values = append(values, m.GetGauge().GetValue())
		}
	}
	return values
}

// ending changes a certificate to one that has ended.
func ending(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
}

func TestKeyring_RescanSaysWhatHasChanged(t *testing.T) {
	s := hsmtest.New(t)
	token := up(t, configOf(s))
	r, c, _ := keep(t, token, time.Now(), hsm.Entry{Key: uri(t, "pkcs11:object=ec")})
	if got := rescan(t, r); len(got.Changes) > 0 || len(got.Unread) > 0 {
		t.Errorf("nothing has happened, and %v, %v", got.Changes, got.Unread)
	}
	before := token.Status().Read
	s.GenerateKey("ec", "12", "EC:prime256v1")
	if got := rescan(t, r); !slices.Equal(whats(got), []hsm.What{hsm.NotServed}) {
		t.Errorf("a key without a certificate: %v", got.Changes)
	}
	if !token.Status().Read.After(before) {
		t.Error("the time of the reading stands still")
	}
	problem := c.Entries()[0].Problems
	if len(problem) != 1 || problem[0].Part != "chain" || problem[0].Since.Before(before) {
		t.Errorf("problems %+v", problem)
	}
	if got := rescan(t, r); len(got.Changes) > 0 {
		t.Errorf("told twice: %v", got.Changes)
	}
	if again := c.Entries()[0].Problems; len(again) != 1 || !again[0].Since.Equal(problem[0].Since) {
		t.Errorf("it is a new problem each time: %+v", again)
	}
	leaf := s.Issue(s.Public("ec", "12"), nil)
	s.WriteCertificate("ec", "12", leaf)
	if got := rescan(t, r); !slices.Equal(whats(got), []hsm.What{hsm.GoesLive, hsm.Fallback}) {
		t.Errorf("with its certificate: %v", got.Changes)
	}
	if e := c.Entries()[0]; len(e.Problems) > 0 || len(e.Pairs) != 2 || e.Kept || !e.Pairs[0].Leaf().Equal(leaf) {
		t.Errorf("%+v", e)
	}
	// The series of the old key is gone.
	if got, want := gauges(t, c, "sallyport_certificate_not_after_timestamp_seconds"), []float64{float64(leaf.NotAfter.Unix())}; !slices.Equal(got, want) {
		t.Errorf("ends %v, want %v", got, want)
	}
	if got := gauges(t, c, "sallyport_site_pairs"); !slices.Equal(got, []float64{2}) {
		t.Errorf("pairs %v", got)
	}
}

func TestKeyring_ServesAnExpiredCertificateForWantOfABetterOne(t *testing.T) {
	s := hsmtest.New(t)
	token := up(t, configOf(s))
	public := s.Public("ec", "02")
	old := s.Issue(public, ending)
	chain := s.WriteChain("site.pem", old)
	r, c, logs := keep(t, token, old.NotBefore.Add(time.Minute), hsm.Entry{Key: uri(t, "pkcs11:object=ec"), Chain: chain})
	rescan(t, r)
	e := c.Entries()[0]
	if !e.Kept || len(e.Problems) != 1 || !strings.Contains(e.Problems[0].Error(), "it expired on") {
		t.Errorf("%+v", e)
	}
	if leaf, err := sign(t, c.Certificate); err != nil || !leaf.Equal(old) {
		t.Errorf("it is not served: %v", err)
	}
	rescan(t, r)
	for _, line := range []string{"certificate is served for want of a better one", "certificate has expired and is still served"} {
		if n := strings.Count(logs.String(), "level=ERROR msg=\""+line); n != 1 {
			t.Errorf("%q is logged %d times:\n%s", line, n, logs)
		}
	}
	s.WriteChain("site.pem", s.Issue(public, nil))
	if got := rescan(t, r); !slices.Equal(whats(got), []hsm.What{hsm.GoesLive, hsm.Leaves}) {
		t.Errorf("%v", got.Changes)
	}
	if c.Entries()[0].Kept {
		t.Error("the new one is still called a makeshift")
	}
}

func TestCertificates_AnExpiredOneComesLast(t *testing.T) {
	s := hsmtest.New(t)
	token := up(t, configOf(s))
	expired := s.Issue(s.Public("ec", "02"), ending)
	good := s.Issue(s.Public("rsa", "01"), func(c *x509.Certificate) { c.NotBefore = expired.NotBefore })
	r := hsm.NewKeyring([]*hsm.Token{token}, time.Hour, slog.New(slog.DiscardHandler))
	c, problems := r.Add(t.Context(), "www", []hsm.Entry{
		{Key: uri(t, "pkcs11:object=ec"), Chain: s.WriteChain("ec1.pem", expired)},
		{Key: uri(t, "pkcs11:object=rsa"), Chain: s.WriteChain("rsa1.pem", good)},
	}, expired.NotBefore.Add(time.Minute))
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	if got := certificateFor(t, c); !got.Leaf.Equal(good) {
		t.Errorf("chose %s until %s", got.Leaf.PublicKeyAlgorithm, got.Leaf.NotAfter)
	}
	// One that the client can use goes before one that it cannot, expired or not.
	ecOnly := hello()
	ecOnly.SignatureSchemes = ecOnly.SignatureSchemes[1:]
	if got, err := c.Certificate(ecOnly); err != nil || !got.Leaf.Equal(expired) {
		t.Errorf("for a client without RSA: %v", err)
	}
}

// However many ask at once, the token is read twice at most: once for those who
// came before the reading began, and once for the others.
func TestKeyring_ManyRescansAreFew(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	config := configOf(s)
	config.Settings.Module, config.Environment = f.Module, f.Environment
	r, _, _ := keep(t, up(t, config), time.Now(), hsm.Entry{Key: uri(t, "pkcs11:object=ec")})
	read := func() int { return int(f.Stats()["C_FindObjectsInit"].Made) }
	before := read()
	rescan(t, r)
	one := read() - before
	before = read()
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			if _, err := r.RescanNow(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	if n := read() - before; one == 0 || n > 2*one {
		t.Errorf("%d searches for 20 readings, %d for one", n, one)
	}
}

func TestToken_StatusTellsWhatHasHappened(t *testing.T) {
	s := hsmtest.New(t)
	token := up(t, configOf(s))
	st := token.Status()
	if st.State != hsm.Up || st.Since.IsZero() || st.Read.IsZero() || st.Up != 1 || st.Processes != 1 ||
		st.Sessions != 4 || st.Restarts != 0 || st.Trouble.Err != nil || st.Info.Label != "edge" {
		t.Errorf("at first: %+v", st)
	}
	if token.Unlock() {
		t.Error("it was not locked")
	}
	first := signerPID(t)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process is replaced", func() bool { st = token.Status(); return st.State == hsm.Up && st.Restarts == 1 })
	if st.Trouble.Err == nil || !strings.Contains(st.Trouble.Err.Error(), "killed") || st.Trouble.Time.IsZero() {
		t.Errorf("the last error is %v at %s", st.Trouble.Err, st.Trouble.Time)
	}
	if len(st.Lanes) != 2 || st.Lanes[0].Kind != "ecdsa" || st.Lanes[1].Kind != "rsa" {
		t.Errorf("%+v", st.Lanes)
	}

	// Unlock spends one try, and Settled tells how it ended.
	if err := os.WriteFile(s.PINFile, []byte("77778888"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(signerPID(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token is locked", func() bool { st = token.Status(); return st.State == hsm.Locked })
	if !errors.Is(st.Reason, hsm.ErrPIN) || st.Up != 0 {
		t.Errorf("locked: %+v", st)
	}
	if err := token.Rescan(t.Context()); !errors.Is(err, hsm.ErrDown) {
		t.Errorf("a locked token was read: %v", err)
	}
	restarts := st.Restarts
	if !token.Unlock() {
		t.Error("it was locked")
	}
	if err := token.Settled(t.Context()); !errors.Is(err, hsm.ErrPIN) {
		t.Errorf("with the wrong PIN: %v", err)
	}
	if n := token.Status().Restarts - restarts; n != 1 {
		t.Errorf("%d logins for one Unlock", n)
	}
	if err := os.WriteFile(s.PINFile, []byte(s.PIN), 0o600); err != nil {
		t.Fatal(err)
	}
	token.Unlock()
	if err := token.Settled(t.Context()); err != nil {
		t.Errorf("with the right PIN: %v", err)
	}
}
