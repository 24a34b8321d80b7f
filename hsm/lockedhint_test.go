package hsm

import "testing"

func TestLockedHint_NamesTheTokenOnce(t *testing.T) {
	for hint, want := range map[string]string{
		"":            "no login is made before `sallyport token unlock edge`",
		"ask someone": "ask someone; no login is made before `sallyport token unlock edge`",
		"correct the PIN, and then `sallyport token unlock` where it runs": "correct the PIN, and then `sallyport token unlock edge` where it runs",
	} {
		if got := lockedHint(hint, "edge"); got != want {
			t.Errorf("%q became %q, want %q", hint, got, want)
		}
	}
}
