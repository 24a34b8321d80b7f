package hsm_test

import (
	"crypto"
	"crypto/sha256"
	"strings"
	"testing"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// Whoever owns the serving process, and with it the signer's socket, signs with the
// keys that the configuration named when the token was opened, and with no others. A
// key that comes later under such a name is one of them.
func TestToken_SignsWithTheConfiguredKeysAlone(t *testing.T) {
	s := hsmtest.New(t)
	c := configOf(s)
	c.Keys = []hsm.URI{uri(t, "pkcs11:token=edge;object=ec"), uri(t, "pkcs11:object=later"), uri(t, "pkcs11:token=other;object=rsa")}
	token := up(t, c)
	signWith := func(label string) error {
		digest := sha256.Sum256([]byte("message"))
		_, err := find(t, token, "pkcs11:object="+label).Sign(nil, digest[:], crypto.SHA256)
		return err
	}
	if err := signWith("ec"); err != nil {
		t.Errorf("a configured key: %v", err)
	}
	if err := signWith("rsa"); err == nil || !strings.Contains(err.Error(), "the configuration does not name it") {
		t.Errorf("another key: %v", err)
	}
	s.GenerateKey("later", "41", "EC:prime256v1")
	s.GenerateKey("never", "42", "EC:prime256v1")
	if err := token.Rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := signWith("later"); err != nil {
		t.Errorf("a key that came later: %v", err)
	}
	if err := signWith("never"); err == nil {
		t.Error("a key that came later, under another name, signs")
	}
	if _, err := token.Examine(t.Context()); err == nil {
		t.Error("a token that is served is examined")
	}
	if state, reason := token.State(); state == hsm.Locked {
		t.Errorf("it is %s: %v", state, reason)
	}
}
