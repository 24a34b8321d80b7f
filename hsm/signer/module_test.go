package signer

import "testing"

func TestPadded(t *testing.T) {
	for shown, want := range map[string]string{
		"edge":               "edge",
		"edge            ":   "edge",
		"edge\x00\x00\x00":   "edge",
		"edge\x00 left over": "edge",
		"edge \x00":          "edge",
		"two words  ":        "two words",
		"caf\xe9":            "caf\uFFFD",
		"   ":                "",
	} {
		if got := padded(shown); got != want {
			t.Errorf("%q: %q, want %q", shown, got, want)
		}
	}
}
