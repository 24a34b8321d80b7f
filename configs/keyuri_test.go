package configs_test

import (
	"strings"
	"testing"

	"sallyport/configs"
)

// withoutPIN is the valid configuration with another key, and a token that has no
// pin of its own.
func withoutPIN(key string) string {
	return strings.NewReplacer("      pin: file:edge.pin\n", "", "pkcs11:token=edge%20label;object=www", key).Replace(valid)
}

func TestParse_PINSourceOfAKeysURI(t *testing.T) {
	for written, want := range map[string]string{
		"file:/etc/edge.pin":             "file:/etc/edge.pin",
		"file:///etc/edge.pin":           "file:/etc/edge.pin",
		"file://localhost/etc/edge.pin":  "file:/etc/edge.pin",
		"/etc/edge.pin":                  "file:/etc/edge.pin",
		"file:/etc/edge%20pin%3Bnew.pin": "file:/etc/edge pin;new.pin",
		"%2Fetc%2Fedge.pin":              "file:/etc/edge.pin",
		"credential:edge":                "credential:edge",
		"env:EDGE_PIN":                   "env:EDGE_PIN",
	} {
		config := mustParse(t, withoutPIN("pkcs11:token=edge%20label;object=www?pin-source="+written))
		if got := config.HSM.Tokens[0].PIN.String(); got != want {
			t.Errorf("%s: the token's PIN is at %q, want %q", written, got, want)
		}
		if got := config.Sites[0].Certificates[0].Key; got != "pkcs11:token=edge%20label;object=www" {
			t.Errorf("%s: the key is %q", written, got)
		}
	}
}

func TestParse_PINSourceIsForTheTokenThatTheURINames(t *testing.T) {
	serial := strings.Replace(withoutPIN("pkcs11:serial=0123;object=www?pin-source=/edge"), "token: edge label", `serial: "0123"`, 1)
	if got := mustParse(t, serial).HSM.Tokens[0].PIN.Reference; got != "/edge" {
		t.Errorf("by its serial number: %q", got)
	}
	two := strings.Replace(withoutPIN("pkcs11:token=edge%20label;object=www?pin-source=/edge"), "listeners:",
		"    - {name: b, module: m, token: b, pin: credential:b}\nlisteners:", 1)
	config := mustParse(t, two)
	want := []configs.PINSource{{Kind: configs.PINFile, Reference: "/edge"}, {Kind: configs.PINCredential, Reference: "b"}}
	for i, token := range config.HSM.Tokens {
		if token.PIN != want[i] {
			t.Errorf("token %s: its PIN is at %v, want %v", token.Name, token.PIN, want[i])
		}
	}
	again := strings.Replace(two, "    routes:", "      - key: pkcs11:token=edge%20label;object=www2?pin-source=file:///edge\n    routes:", 1)
	if got := mustParse(t, again).HSM.Tokens[0].PIN; got != want[0] {
		t.Errorf("said twice: its PIN is at %v", got)
	}
}
