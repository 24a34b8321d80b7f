package hsm

import (
	"strings"
	"testing"

	"sallyport/hsm/wire"
)

func TestParseURI_Matches(t *testing.T) {
	token := wire.TokenInfo{Slot: 3, Label: "edge", Serial: "e7f7", Manufacturer: "SoftHSM project", Model: "SoftHSM v2"}
	key := wire.Key{ID: []byte{1, 0xa0}, Label: "www key"}
	for _, c := range []struct {
		uri        string
		token, key bool
	}{
		{"pkcs11:token=edge;object=www%20key", true, true},
		{"pkcs11:object=www%20key;id=%01%A0", true, true},
		{"pkcs11:id=%01%a0", true, true},
		{"pkcs11:token=edge;serial=e7f7;manufacturer=SoftHSM%20project;model=SoftHSM%20v2;slot-id=3;object=www%20key;type=private", true, true},
		{"pkcs11:object=www%20key?pin-source=file:/etc/edge.pin", true, true},
		{"pkcs11:object=www%20key?", true, true},
		{"pkcs11:token=Edge;object=www%20key", false, true},
		{"pkcs11:token=;object=www%20key", false, true},
		{"pkcs11:slot-id=0;object=www%20key", false, true},
		{"pkcs11:object=www", true, false},
		{"pkcs11:object=www%20key;id=%01", true, false},
	} {
		u, err := ParseURI(c.uri)
		if err != nil {
			t.Errorf("%s: %v", c.uri, err)
			continue
		}
		if got := u.MatchesToken(token); got != c.token {
			t.Errorf("%s: matches the token: %v, want %v", c.uri, got, c.token)
		}
		if got := u.MatchesKey(key); got != c.key {
			t.Errorf("%s: matches the key: %v, want %v", c.uri, got, c.key)
		}
		if want, _, _ := strings.Cut(c.uri, "?"); u.String() != want {
			t.Errorf("%s prints as %s", c.uri, u)
		}
	}
}

func TestParseURI_Refuses(t *testing.T) {
	for uri, want := range map[string]string{
		"":                                  "begins with",
		"PKCS11:object=a":                   "begins with",
		"pkcs11:":                           "names no key",
		"pkcs11:token=edge":                 "names no key",
		"pkcs11:object":                     "name=value",
		"pkcs11:object=a;":                  "name=value",
		"pkcs11:=a":                         "name=value",
		"pkcs11:object=a;object=b":          "twice",
		"pkcs11:object=a b":                 "percent-encoded",
		"pkcs11:object=a%2":                 "hexadecimal",
		"pkcs11:object=a%zz":                "hexadecimal",
		"pkcs11:id=":                        "empty",
		"pkcs11:slot-id=x;object=a":         "not a number",
		"pkcs11:object=a;type=cert":         "must be private",
		"pkcs11:object=a;colour=red":        `"colour" is not known`,
		"pkcs11:object=a?pin-value=123456":  "a PIN does not belong",
		"pkcs11:object=a;pin-value=123456":  "a PIN does not belong",
		"pkcs11:object=a?module-path=/x.so": "no meaning",
		"pkcs11:object=a?pin-source=/x&pin-value=123456":    "a PIN does not belong",
		"pkcs11:object=a?pin-source=/x&module-path=/123456": "no meaning",
		"pkcs11:object=a?pin-source=|echo%20123456":         "a command is not run",
		"pkcs11:object=a?pin-source=%7cecho%20123456":       "a command is not run",
		"pkcs11:object=a;pin-source=file:%2F123456":         "a PIN does not belong",
	} {
		_, err := ParseURI(uri)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", uri, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "123456") {
			t.Errorf("%q: the error shows the PIN: %v", uri, err)
		}
	}
}

func TestKeyURI_NamesTheKeyAgain(t *testing.T) {
	token := wire.TokenInfo{Label: "my token; 100%"}
	key := wire.Key{ID: []byte{0, 0xff}, Label: "ключ / key"}
	u, err := ParseURI(KeyURI(token, key))
	if err != nil {
		t.Fatalf("%s: %v", KeyURI(token, key), err)
	}
	if !u.MatchesToken(token) || !u.MatchesKey(key) {
		t.Errorf("%s does not match what it was made of", u)
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("pkcs11:token=edge;object=www;id=%01")
	f.Add("pkcs11:object=a?pin-value=1")
	f.Add("pkcs11:object=a?pin-source=file:/etc/edge.pin")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		if u.Object == nil && u.ID == nil {
			t.Errorf("%q names no key", s)
		}
		if strings.Contains(u.String(), "?") {
			t.Errorf("%q prints as %q", s, u)
		}
		var token wire.TokenInfo
		var key wire.Key
		if u.Token != nil {
			token.Label = *u.Token
		}
		if u.Object != nil {
			key.Label = *u.Object
		}
		key.ID = u.ID
		if key.Label == "" && key.ID == nil {
			return
		}
		again, err := ParseURI(KeyURI(token, key))
		if err != nil || !again.MatchesToken(token) || !again.MatchesKey(key) {
			t.Errorf("%q: written again as %q: %v", s, KeyURI(token, key), err)
		}
	})
}
