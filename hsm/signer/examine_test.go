package signer

import (
	"testing"
	"time"

	"github.com/miekg/pkcs11"
)

func TestTokenClock(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 500, time.FixedZone("east", 3600))
	for text, want := range map[string]struct {
		ahead time.Duration
		bad   bool
	}{
		"2026030111000000": {0, false},
		"2026030111013000": {90 * time.Second, false},
		"20260301110000":   {0, false}, // its padding was trimmed
		"2026030110595900": {-time.Second, false},
		"":                 {0, true},
		"2026-03-01 11:00": {0, true},
	} {
		c := tokenClock(text, now)
		if c.Ahead != want.ahead || (c.Error != "") != want.bad {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

func TestSessionCount_UnknownIsNotMany(t *testing.T) {
	for n, want := range map[uint]int{0: 0, 100: 100, pkcs11.CK_UNAVAILABLE_INFORMATION: -1} {
		if got := sessionCount(n); got != want {
			t.Errorf("%#x: %d, want %d", n, got, want)
		}
	}
}
