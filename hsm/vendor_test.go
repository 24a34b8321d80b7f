package hsm_test

import (
	"crypto"
	"crypto/sha256"
	"testing"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

func TestToken_OfEachVendor(t *testing.T) {
	for name, vendor := range map[string]func(testing.TB) *hsmtest.Token{
		"SoftHSM":                         hsmtest.NewSoftHSM,
		"NSS by p11-kit's proxy":          hsmtest.NewNSS,
		"SoftHSM behind p11-kit's server": hsmtest.NewRemote,
	} {
		t.Run(name, func(t *testing.T) {
			token := up(t, configOf(vendor(t)))
			for _, key := range []string{"pkcs11:token=edge;object=ec", "pkcs11:token=edge;object=rsa"} {
				siteOf(t, token, hsm.Entry{Key: uri(t, key)}) // proves key and certificate
			}
		})
	}
}

// Calls that a server holds back go on with it, and a server that was killed is
// found again by a new process.
func TestToken_ComesBackWithItsServer(t *testing.T) {
	s := hsmtest.NewRemote(t)
	token := up(t, configOf(s))
	k := find(t, token, "pkcs11:object=ec")
	digest := sha256.Sum256([]byte("message"))
	signs := func() bool {
		_, err := k.Sign(nil, digest[:], crypto.SHA256)
		return err == nil
	}
	s.Server.Stop()
	held := make(chan bool)
	go func() { held <- signs() }()
	s.Server.Continue()
	if !<-held {
		t.Error("a signature that was held back for a moment is lost")
	}
	for range 2 {
		s.Server.Kill()
		eventually(t, "a signature fails", func() bool { return !signs() })
		s.Server.Restart()
		eventually(t, "signatures are made again", signs)
	}
}

// A label that is not UTF-8 cannot be written in a URI, but its key has an id.
func TestKey_WithALabelThatIsNotUTF8(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	s.GenerateKey("caf\xe9", "0d", "EC:prime256v1")
	k := find(t, up(t, configOf(s)), "pkcs11:id=%0D")
	digest := sha256.Sum256([]byte("message"))
	if _, err := k.Sign(nil, digest[:], crypto.SHA256); err != nil {
		t.Error(err)
	}
}
