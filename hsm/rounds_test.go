package hsm_test

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// besideAHungToken is a keyring over a token whose listing hangs and another one, with
// a site on the other.
func besideAHungToken(t *testing.T, patience time.Duration) (r *hsm.Keyring, f *hsmtest.Faulty, other *hsmtest.Token, site *hsm.Certificates) {
	t.Helper()
	c, f := onFaulty(t, hsmtest.NewSoftHSM(t))
	c.Name, c.OpenTimeout = "hung", 10*time.Minute
	other = hsmtest.NewSoftHSM(t)
	tokens := []*hsm.Token{up(t, c), up(t, configOf(other))}
	r = hsm.NewKeyring(tokens, time.Hour, slog.New(slog.DiscardHandler))
	r.SetPatience(patience)
	site, problems := r.Add(t.Context(), "www", []hsm.Entry{{Key: uri(t, "pkcs11:object=ec;serial="+tokens[1].Inventory().Token.Serial)}}, time.Now())
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	f.Hang("C_FindObjectsInit")
	return r, f, other, site
}

// What the other tokens hold goes live although one is still being read.
func TestKeyring_AHungTokenHoldsUpNoOther(t *testing.T) {
	r, f, other, site := besideAHungToken(t, time.Hour)
	leaf := other.Issue(other.Public("ec", "02"), func(c *x509.Certificate) { c.NotBefore = time.Now().Add(-time.Second) })
	other.Tool("--delete-object", "--type", "cert", "--id", "02")
	other.WriteCertificate("ec", "02", leaf)
	outcome := make(chan hsm.Round, 1)
	go func() {
		if round, err := r.RescanNow(t.Context()); err == nil {
			outcome <- round
		}
	}()
	eventually(t, "the new certificate is served", func() bool { return site.Pairs()[0][0].Leaf().Equal(leaf) })
	select {
	case round := <-outcome:
		t.Errorf("the round was over before: %+v", round)
	default:
	}
	f.Release()
	if round := <-outcome; len(round.Unread) > 0 {
		t.Errorf("unread: %v", round.Unread)
	}
}

// Who asks for a reading hears of the token that hangs, and of no other; it is
// not asked again while it hangs.
func TestKeyring_NamesATokenThatHangs(t *testing.T) {
	r, f, _, _ := besideAHungToken(t, 200*time.Millisecond)
	for range 3 {
		round := rescan(t, r)
		err := round.Unread["hung"]
		if len(round.Unread) != 1 || !errors.Is(err, hsm.ErrTimeout) || !strings.Contains(err.Error(), "still is") {
			t.Fatalf("unread: %v", round.Unread)
		}
	}
	if c := f.Stats()["C_FindObjectsInit"]; c.Hung != 1 {
		t.Errorf("%d listings hang, want 1", c.Hung)
	}
	f.Release()
	eventually(t, "it is read", func() bool { return len(rescan(t, r).Unread) == 0 })
}
