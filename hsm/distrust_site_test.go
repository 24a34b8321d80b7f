package hsm_test

import (
	"log/slog"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// A site goes on with its other token when one gives a wrong signature, and no
// client ever sees that.
func TestCertificates_TheOtherTokenTakesOverFromAWrongOne(t *testing.T) {
	c, f := onFaulty(t, hsmtest.NewSoftHSM(t))
	c.Name = "wrong"
	right := configOf(hsmtest.NewSoftHSM(t))
	right.Name = "right"
	tokens := []*hsm.Token{up(t, c), up(t, right)}
	var entries []hsm.Entry
	for _, token := range tokens {
		entries = append(entries, hsm.Entry{Key: uri(t, "pkcs11:object=ec;serial="+token.Inventory().Token.Serial)})
	}
	site, problems := hsm.NewKeyring(tokens, time.Hour, slog.New(slog.DiscardHandler)).Add(t.Context(), "www", entries, time.Now())
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	other := site.Pairs()[1][0].Leaf()
	f.SpoilSignatures("yes")
	eventually(t, "the token with wrong signatures is down", func() bool {
		// Whoever is served by it has the handshake made again, by package proxy.
		for range 64 { // some of which are that token's, and of these some are verified
			if got, err := sign(t, site.Certificate); err == nil && !got.Equal(other) {
				t.Errorf("a client took a handshake by the wrong token")
			}
		}
		state, _ := tokens[0].State()
		return state == hsm.Down
	})
	for range 3 {
		if got, err := sign(t, site.Certificate); err != nil || !got.Equal(other) {
			t.Errorf("afterwards: %v", err)
		}
	}
}
