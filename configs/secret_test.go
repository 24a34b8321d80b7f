package configs_test

import (
	"strings"
	"testing"
)

// testPIN stands for a PIN that an operator writes where none belongs.
const testPIN = "7391hunter"

func TestParse_NoErrorShowsThePIN(t *testing.T) {
	for _, test := range []struct{ old, new string }{
		{"file:edge.pin", "PIN"},
		{"file:edge.pin", `"PIN"`},
		{"file:edge.pin", "env:PIN"},
		{"file:edge.pin", "env: PIN"},
		{"file:edge.pin", "env:EDGE_PIN=PIN"},
		{"file:edge.pin", "env:SALLYPORT_PIN"},
		{"file:edge.pin", "credential:../PIN"},
		{"file:edge.pin", "credential: PIN"},
		{"file:edge.pin", "file: PIN"},
		{"file:edge.pin", `"file:PIN\n"`},
		{"file:edge.pin", "[PIN]"},
		{"file:edge.pin", "{value: PIN}"},
		{"file:edge.pin", "{PIN: }"},
		{"file:edge.pin", "&PIN x"},
		{"file:edge.pin", "*PIN"},
		{"file:edge.pin", "!PIN x"},
		{"file:edge.pin", "!!int PIN"},
		{"file:edge.pin", "!<PIN> x"},
		{"file:edge.pin", "!PIN!x y"},
		{"file:edge.pin", "%PIN"},
		{"file:edge.pin", "@PIN"},
		{"file:edge.pin", "`PIN"},
		{"file:edge.pin", `"\PIN"`},
		{"file:edge.pin", `"PIN`},
		{"file:edge.pin", `'PIN`},
		{"file:edge.pin", `"x" PIN`},
		{"file:edge.pin", "a: PIN: b"},
		{"file:edge.pin", "| PIN"},
		{"file:edge.pin", "|\n        PIN"},
		{"file:edge.pin", "\nPIN"},
		{"file:edge.pin", "\n  PIN"},
		{"file:edge.pin", "\n      PIN"},
		{"file:edge.pin", "\n      PIN:"},
		{"file:edge.pin", "file:x\n      pin: PIN"},
		{"file:edge.pin", "\xff PIN"},
		{"file:edge.pin", "\x01 PIN"},
		{"pin: file:edge.pin", "pin:PIN"},
		{"pin: file:edge.pin", "pni: PIN"},
		{"pin: file:edge.pin", "PIN: PIN"},
		{"pin: file:edge.pin", "pin=PIN"},
		{"pin: file:edge.pin", "pin-PIN:"},
		{"pin: file:edge.pin", "? PIN"},
		{"    - name: edge", "    - {pin:PIN}\n    - name: edge"},
		{"    - name: edge", "    - {pinPIN}\n    - name: edge"},
		{"    - name: edge", "    - {pin:PIN, pin:PIN}\n    - name: edge"},
		{"object=www", "object=www?pin-value=PIN"},
		{"object=www", "object=www;pin-value=PIN"},
		{"object=www", "object=www?Pin-Value=PIN"},
		{"object=www", "object=www?pin%2Dvalue=PIN"},
		{"object=www", "object=www?pin%2Dvalue=PIN%zz"},
		{"object=www", "object=www?pinvalue=PIN"},
		{"object=www", "object=www?pin=PIN"},
		{"object=www", "object=www?pin-source=file:PIN"},
		{"object=www", "object=www?pin-source=PIN"},
		{"object=www", "object=www?pin-source="},
		{"object=www", "object=www?pin-source=file://PIN/x"},
		{"object=www", "object=www?pin-source=/PIN"}, // the token has one
		{"object=www", "object=www?pin-source=|/PIN"},
		{"object=www", "object=www?pin-source=%7C/PIN"},
		{"object=www", "object=www?pin-source=env:PIN"},
		{"object=www", "object=www?pin-source=credential:../PIN"},
		{"object=www", "object=www?pin-source=none"},
		{"object=www", "object=www?pin-source=/x%PIN"},
		{"object=www", "object=www?pin-source=/x%0APIN"},
		{"object=www", "object=www?pin-source=/x&pin-value=PIN"},
		{"object=www", "object=www?pin-value=PIN&pin-source=/x"},
		{"object=www", "object=www;pin-value=PIN?pin-source=/x"},
		{"object=www", "object=www;pin-source=/PIN"},
		{"object=www", "object=www?module-path=/x&pin-source=/PIN"},
		{"object=www", "object=www?pin-value=PIN "},
		{"pkcs11:token=edge%20label;", "PKCS11:pin-value=PIN;"},
		{"pkcs11:token=edge%20label;", "pin-value=PIN;"},
		{"pkcs11:token=edge%20label;", "pkcs11:token=other,pin-value=PIN;"},
		{"pkcs11:token=edge%20label;", "pkcs11:token=PIN;"},
		{"key: pkcs11:token=edge%20label;object=www", `key: ["pkcs11:token=edge?pin-value=PIN"]`},
		{"key: pkcs11:token=edge%20label;object=www", `kye: "pkcs11:token=edge?pin-value=PIN"`},
		{"key: pkcs11:token=edge%20label;object=www", `key: *pkcs11:pin-value=PIN`},
	} {
		text := with(t, test.old, strings.ReplaceAll(test.new, "PIN", testPIN))
		_, err := parse(t, text)
		switch {
		case err == nil:
			t.Errorf("%s is not refused", test.new)
		case strings.Contains(err.Error(), testPIN):
			t.Errorf("%s: the PIN shows in %v", test.new, err)
		}
	}
}

func TestParse_NoErrorShowsThePINOfTheEnvironment(t *testing.T) {
	for _, variable := range []string{"SALLYPORT_PIN", "SALLYPORT_HSM_TOKENS_0_PIN", "SALLYPORT_"} {
		err := problemsOf(t, valid, variable+"="+testPIN)
		if strings.Contains(err.Error(), testPIN) {
			t.Errorf("%s: the PIN shows in %v", variable, err)
		}
	}
}

func TestParse_APINInTheFileIsExplained(t *testing.T) {
	got := problemsOf(t, with(t, "file:edge.pin", testPIN)).List
	if len(got) != 1 || got[0].Path != "hsm.tokens[0].pin" || got[0].Line != 6 ||
		!strings.Contains(got[0].Message, "expected file:PATH, credential:NAME, env:NAME or none") || got[0].Hint == "" {
		t.Errorf("got %+v", got)
	}
}
