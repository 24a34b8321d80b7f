package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"unicode"

	"sallyport/hsm/wire"
)

func TestColumnsOf(t *testing.T) {
	for text, want := range map[string]int{
		"":                 0,
		"edge":             4,
		"エッジ":              6,  // wide
		"ｅｄｇｅ":             8,  // full width
		"ﾆﾎﾝ":              3,  // half width
		"e\u0301dge":       4,  // e and an acute accent
		"\u202Eedge":       4,  // right-to-left override
		"한국":               4,  // Hangul
		"🔑":                2,  // emoji
		"Grüße":            5,  // ambiguous or narrow
		"ключ":             4,  // Cyrillic
		"a\u200Bb\u200Dcd": 4,  // of no width
		"「鍵」 for 東京 ":      16, // mixed
	} {
		if got := columnsOf(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
	}
}

// What a token says of itself is text of whoever made it.
const hostile = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202Egpj.\r\nfake: line"

// tame fails where out would do anything to a terminal.
func tame(t *testing.T, out string) {
	t.Helper()
	for _, r := range out {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%U reaches the terminal:\n%q", r, out)
			return
		}
	}
}

func TestTokenList_IsATableOfWhateverIsInIt(t *testing.T) {
	l := listing{Name: "edge", Module: "/m.so", LoggedIn: true, Inventory: wire.Inventory{
		Token: wire.TokenInfo{Label: hostile, Serial: hostile, Manufacturer: hostile, Model: hostile, Library: hostile},
		Keys: []wire.Key{
			{Label: "www", Type: "P-256"}, {Label: "鍵「東京」", Type: "P-256"}, {Label: "cle\u0301", Type: "RSA-2048"},
			{Label: hostile, Type: "P-384"}, {Label: "x", Type: "EC", Reason: "the library says: " + hostile},
		},
		Certificates: []wire.Certificate{{Label: hostile, DER: certificateOf(t, hostile)}},
	}}
	var out bytes.Buffer
	if err := l.print(&out); err != nil {
		t.Fatal(err)
	}
	tame(t, out.String())
	column := -1
	for _, line := range strings.Split(out.String(), "\n") {
		before, _, isKey := strings.Cut(line, "  pkcs11:")
		if !isKey {
			continue
		}
		before = strings.TrimRight(before, " ")
		at := columnsOf(before[:strings.LastIndex(before, "  ")])
		if column < 0 {
			column = at
		}
		if at != column {
			t.Errorf("a type begins in column %d, others in %d:\n%s", at, column, out.String())
		}
	}
	if column < 0 {
		t.Errorf("no key is listed:\n%s", out.String())
	}
	if strings.Contains(out.String(), "\nfake: line") {
		t.Errorf("a label makes lines:\n%s", out.String())
	}
}

// certificateOf makes a certificate of a subject.
func certificateOf(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestReport_PrintsNothingThatATerminalObeys(t *testing.T) {
	var out bytes.Buffer
	report(&out, hint(errors.New("subject "+hostile), "ask "+hostile))
	tame(t, out.String())
}
