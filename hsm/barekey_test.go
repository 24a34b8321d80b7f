package hsm_test

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// bare deletes what the token has of a key besides the private half.
func bare(s *hsmtest.Token, id string) {
	s.Tool("--delete-object", "--type", "pubkey", "--id", id)
	s.Tool("--delete-object", "--type", "cert", "--id", id)
}

// The public half may be in the certificate alone, which the chain file has. A
// test signature shows that it is the key's.
func TestKeyring_ServesAKeyWhosePublicHalfIsInTheChainFile(t *testing.T) {
	s := hsmtest.NewSoftHSM(t) // NSS keeps no private key without its public one
	public, other := s.Public("ec", "02"), issue(t, "other", nil)
	leaf := s.Issue(public, nil)
	bare(s, "02")
	bare(s, "01")
	token := up(t, configOf(s))

	file := s.WriteChain("site.pem", leaf)
	r, c, _ := keep(t, token, time.Now(), hsm.Entry{Key: uri(t, "pkcs11:object=ec"), Chain: file})
	if got, err := sign(t, c.Certificate); err != nil || !got.Equal(leaf) {
		t.Fatalf("it is not served: %v", err)
	}
	if p := c.Pairs()[0][0]; p.Key.Type() != "P-256" || !p.Key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
		t.Errorf("a key of type %s", p.Key.Type())
	}
	if round := rescan(t, r); len(round.Changes) > 0 {
		t.Errorf("at the next reading: %v", round.Changes)
	}

	// An RSA key says its modulus itself.
	rsaLeaf := find(t, token, "pkcs11:object=rsa").Public()
	siteOf(t, token, hsm.Entry{Key: uri(t, "pkcs11:object=rsa"), Chain: s.WriteChain("rsa.pem", s.Issue(rsaLeaf, nil))})

	for name, entry := range map[string]hsm.Entry{
		"another key's certificate":   {Key: uri(t, "pkcs11:object=ec"), Chain: s.WriteChain("other.pem", other.cert)},
		"an RSA key's certificate":    {Key: uri(t, "pkcs11:object=ec"), Chain: s.WriteChain("rsa.pem", s.Issue(rsaLeaf, nil))},
		"no certificate, and no file": {Key: uri(t, "pkcs11:object=ec")},
	} {
		if _, err := addSite(t, token, entry); err == nil || !strings.Contains(err.Error(), "its public key is not on the token") {
			t.Errorf("%s: got %v", name, err)
		}
	}

	// Another private key takes the place of the first, under the same names.
	s.Tool("--delete-object", "--type", "privkey", "--id", "02")
	s.GenerateKey("ec", "02", "EC:prime256v1")
	successor := s.Issue(s.Public("ec", "02"), nil)
	s.Tool("--delete-object", "--type", "pubkey", "--id", "02")
	if round := rescan(t, r); !slices.Contains(whats(round), hsm.Kept) {
		t.Errorf("with the certificate of the one before: %v", round.Changes)
	}
	if err := c.Ready(); !errors.Is(err, hsm.ErrNoKey) {
		t.Errorf("ready to sign with another key than the certificate's: %v", err)
	}
	s.WriteChain("site.pem", successor)
	if round := rescan(t, r); !slices.Contains(whats(round), hsm.GoesLive) {
		t.Errorf("with its own certificate: %v", round.Changes)
	}
	if got, err := sign(t, c.Certificate); err != nil || !got.Equal(successor) {
		t.Errorf("the successor is not served: %v", err)
	}
}

// Or it is in a certificate that the token has under another CKA_ID.
func TestKeyring_ServesAKeyWhosePublicHalfIsInSomeCertificate(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	leaf := s.Issue(s.Public("ec", "02"), nil)
	bare(s, "02")
	s.GenerateKey("other", "05", "EC:prime256v1")
	s.WriteCertificate("other", "05", s.Issue(s.Public("other", "05"), nil))
	s.WriteCertificate("somewhere else", "31", leaf)
	token := up(t, configOf(s))
	c := siteOf(t, token, hsm.Entry{Key: uri(t, "pkcs11:object=ec")})
	if got, err := sign(t, c.Certificate); err != nil || !got.Equal(leaf) {
		t.Errorf("it is not served: %v", err)
	}
	digest := sha256.Sum256([]byte("message"))
	if _, err := find(t, token, "pkcs11:object=ec").Sign(nil, digest[:], crypto.SHA256); err != nil {
		t.Error(err)
	}
}

// A token that hangs holds up a look at the sites once, not by each of its bare keys,
// which are taken for what they were.
func TestKeyring_AHungTokenHoldsUpALookAtBareKeysOnce(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	leaf := s.Issue(s.Public("ec", "02"), nil)
	s.GenerateKey("ec", "05", "EC:prime256v1")
	second := s.Issue(s.Public("ec", "05"), nil)
	bare(s, "02")
	s.Tool("--delete-object", "--type", "pubkey", "--id", "05")
	s.WriteCertificate("first", "31", leaf)
	s.WriteCertificate("second", "32", second)
	config, f := onFaulty(t, s)
	config.SignTimeout = time.Hour
	r, c, _ := keep(t, up(t, config), time.Now(), hsm.Entry{Key: uri(t, "pkcs11:object=ec")})
	if n := len(c.Pairs()[0]); n != 2 {
		t.Fatalf("%d pairs", n)
	}
	f.ResetStats()
	f.HangForGood("C_Sign", 100)
	if round := rescan(t, r); len(round.Changes) > 0 {
		t.Errorf("it changes %v", round.Changes)
	}
	if n := f.Stats()["C_Sign"].Hung; n != 1 {
		t.Errorf("%d test signatures hang, want 1", n)
	}
}

// What a site with a stranger's chain finds says nothing of the key that another one serves.
func TestKeyring_AStrangersChainFileForgetsNoBareKey(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	leaf, other := s.Issue(s.Public("ec", "02"), nil), issue(t, "other", nil)
	bare(s, "02")
	config, f := onFaulty(t, s)
	token := up(t, config)
	right := hsm.Entry{Key: uri(t, "pkcs11:object=ec"), Chain: s.WriteChain("site.pem", leaf)}
	r, _, _ := keep(t, token, time.Now(), right)
	wrong := hsm.Entry{Key: right.Key, Chain: s.WriteChain("other.pem", other.cert)}
	if _, problems := r.Add(t.Context(), "other", []hsm.Entry{wrong}, time.Now()); len(problems) != 1 {
		t.Fatal("a stranger's chain is served")
	}
	f.Vanish()
	var changes []hsm.Change
	eventually(t, "the token is down and was looked at", func() bool {
		state, _ := token.State()
		changes = append(changes, rescan(t, r).Changes...)
		return state == hsm.Down
	})
	if len(changes) > 0 {
		t.Errorf("it changes %v", changes)
	}
}
