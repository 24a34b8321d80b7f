package hsm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sallyport/hsm/wire"
)

// URI names a private key by attributes of the token and of the object
// (RFC 7512). An attribute that is absent matches everything.
type URI struct {
	Token, Manufacturer, Serial, Model *string // token, manufacturer, serial, model
	SlotID                             *uint   // slot-id
	Object                             *string // object: CKA_LABEL
	ID                                 []byte  // id: CKA_ID; nil: absent

	text string
}

// String returns the URI as it was written, but for what is said there of a PIN.
func (u URI) String() string { return u.text }

// ParseURI reads a PKCS#11 URI. Every attribute that cannot help to choose a
// private key is refused, query attributes among them: where the PIN and the
// module are is said in the token's settings. A pin-source alone is passed over,
// as it is for the settings to have taken it up. No error repeats a value, since
// that may be a PIN.
func ParseURI(s string) (URI, error) {
	var u URI
	rest, ok := strings.CutPrefix(s, "pkcs11:")
	if !ok {
		return URI{}, errors.New(`a key's URI begins with "pkcs11:"`)
	}
	path, query, _ := strings.Cut(rest, "?")
	if err := checkQuery(query); err != nil {
		return URI{}, err
	}
	u.text = "pkcs11:" + path
	seen := make(map[string]bool)
	for attribute := range strings.SplitSeq(path, ";") {
		name, raw, ok := strings.Cut(attribute, "=")
		if attribute == "" && path == "" {
			break
		}
		if !ok || name == "" {
			return URI{}, errors.New("an attribute of the URI is not of the form name=value")
		}
		if seen[name] {
			return URI{}, fmt.Errorf("attribute %q is given twice", name)
		}
		seen[name] = true
		value, err := unescape(raw)
		if err != nil {
			return URI{}, fmt.Errorf("attribute %q: %w", name, err)
		}
		if err := u.set(name, value); err != nil {
			return URI{}, err
		}
	}
	if u.Object == nil && u.ID == nil {
		return URI{}, errors.New("the URI names no key: it needs object= (the label) or id=")
	}
	return u, nil
}

// checkQuery refuses what is behind the ? of a URI, except for a pin-source.
func checkQuery(query string) error {
	source, ok := strings.CutPrefix(query, "pin-source=")
	switch {
	case query == "":
		return nil
	case strings.Contains(query, "pin-value"):
		return errors.New("a PIN does not belong into a URI; the token's pin setting says where to read it")
	case !ok || strings.Contains(source, "&"):
		return errors.New("attributes behind ? have no meaning here; the token's settings say where module and PIN are")
	case strings.HasPrefix(source, "|"), strings.HasPrefix(strings.ToUpper(source), "%7C"):
		return errors.New("a pin-source that is a command is not run; the token's pin setting says where to read the PIN")
	}
	return nil
}

func (u *URI) set(name string, value []byte) error {
	text := string(value)
	switch name {
	case "token":
		u.Token = &text
	case "manufacturer":
		u.Manufacturer = &text
	case "serial":
		u.Serial = &text
	case "model":
		u.Model = &text
	case "object":
		u.Object = &text
	case "id":
		if len(value) == 0 {
			return errors.New(`attribute "id" is empty`)
		}
		u.ID = value
	case "slot-id":
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return errors.New(`attribute "slot-id" is not a number`)
		}
		slot := uint(n)
		u.SlotID = &slot
	case "type":
		if text != "private" {
			return errors.New(`attribute "type" must be private: it is the private key that signs`)
		}
	case "pin-value", "pin-source":
		return errors.New("a PIN does not belong into a URI; the token's pin setting says where to read it")
	default:
		return fmt.Errorf("attribute %q is not known; token, serial, manufacturer, model, slot-id, object and id are", printable(name))
	}
	return nil
}

// unescape decodes percent encoding and refuses what RFC 7512 §2.3 does not
// allow to stand unencoded.
func unescape(s string) ([]byte, error) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) {
				return nil, errors.New("% needs two hexadecimal digits")
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return nil, errors.New("% needs two hexadecimal digits")
			}
			out = append(out, byte(n))
			i += 2
		case c <= ' ' || c >= 0x7f || strings.IndexByte(`"<>\^{|}#/`+"`", c) >= 0:
			return nil, fmt.Errorf("the character %q must be percent-encoded", rune(c))
		default:
			out = append(out, c)
		}
	}
	return out, nil
}

// printable keeps an attribute's name short enough for an error.
func printable(name string) string {
	if len(name) > 40 {
		return name[:40] + "…"
	}
	return name
}

// filter is u without its text, as both sides of the wire know it.
func (u URI) filter() wire.KeyFilter {
	return wire.KeyFilter{
		Token: u.Token, Manufacturer: u.Manufacturer, Serial: u.Serial, Model: u.Model, Slot: u.SlotID,
		Object: u.Object, ID: u.ID,
	}
}

// MatchesToken says whether the token's attributes are what u asks for.
func (u URI) MatchesToken(t wire.TokenInfo) bool { return u.filter().MatchesToken(t) }

// MatchesKey says whether the key's attributes are what u asks for.
func (u URI) MatchesKey(k wire.Key) bool { return u.filter().MatchesKey(k) }

// KeyURI writes the URI that names a key, for the configuration.
func KeyURI(t wire.TokenInfo, k wire.Key) string {
	uri := "pkcs11:token=" + escape([]byte(t.Label))
	if k.Label != "" {
		uri += ";object=" + escape([]byte(k.Label))
	}
	if len(k.ID) > 0 {
		var id strings.Builder
		for _, b := range k.ID {
			fmt.Fprintf(&id, "%%%02X", b)
		}
		uri += ";id=" + id.String()
	}
	return uri
}

func escape(value []byte) string {
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	var b strings.Builder
	for _, c := range value {
		if strings.IndexByte(unreserved, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
