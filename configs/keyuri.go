package configs

import (
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A key's URI (RFC 7512) is parsed whole by package hsm. Here it is looked at
// for what the rest of the configuration has to do with: the token that it names,
// and where it says that token's PIN is.

// uriPIN finds a PIN in a key's URI, also in one that is badly written.
var uriPIN = regexp.MustCompile(`(?i)\bpin[-_ ]?(value|source)?\s*=|pin[-_ ]?value|pin[-_ ]?source`)

func (c Certificate) validate(p place) {
	at := p.key("key")
	key, _, err := cutPINSource(c.Key)
	decoded, escapeErr := url.PathUnescape(key)
	switch {
	case c.Key == "":
		required(at)
	case err != nil:
		at.refuse(err)
	case uriPIN.MatchString(key) || uriPIN.MatchString(decoded):
		at.say("holds a PIN, or names the source of one where none can be (not shown)",
			"say where the PIN is by the token's pin, and change a PIN that has been in a configuration")
	case !strings.HasPrefix(key, "pkcs11:"):
		at.say("is not the URI of a key on a token", `an RFC 7512 URI, such as "pkcs11:token=edge;object=www"`)
	case escapeErr != nil || strings.ContainsFunc(key, notInURI):
		at.say("is not a URI", "write spaces and other special characters as %20 and so on")
	}
}

func notInURI(r rune) bool { return r <= ' ' || r >= 0x7f }

// cutPINSource takes the query `?pin-source=…` off a key's URI. Any other query
// stays. The error is a *fault, and does not repeat what may be a PIN.
func cutPINSource(uri string) (key string, source PINSource, err error) {
	key, value, found := strings.Cut(uri, "?pin-source=")
	if !found {
		return uri, PINSource{}, nil
	}
	text, err := url.PathUnescape(value)
	if err != nil || strings.ContainsFunc(value, notInURI) || strings.ContainsAny(value, "&?#") {
		return key, PINSource{}, &fault{"has a pin-source that is not written as in a URI, or something behind it (not shown)",
			"write special characters as %20 and so on, and nothing behind the source"}
	}
	source, err = parsePINSource(text)
	return key, source, err
}

// parsePINSource reads the value of a pin-source: a file: URI or an absolute path
// (RFC 7512 §2.4), or what a token's pin says of a credential or a variable.
func parsePINSource(text string) (s PINSource, err error) {
	path := text
	if rest, isFile := strings.CutPrefix(text, "file:"); isFile {
		path = rest
		for _, host := range []string{"//localhost", "//"} { // RFC 8089 §2: this machine
			if local, ok := strings.CutPrefix(rest, host); ok {
				path = local
				break
			}
		}
	}
	kind, _, _ := strings.Cut(text, ":")
	switch {
	case strings.HasPrefix(text, "|"):
		return s, &fault{"has a pin-source that is a command (not shown), which is not run", "the PIN can be in a file, a credential or a variable"}
	case filepath.IsAbs(path) && !strings.HasPrefix(path, "//") && checkCharacters(path) == nil:
		return PINSource{Kind: PINFile, Reference: path}, nil
	case kind == string(PINCredential), kind == string(PINEnv):
		err = s.UnmarshalText([]byte(text))
		return s, err
	}
	return s, &fault{"has a pin-source that is none (what is written there is not shown, it may be the PIN)",
		"a file by its absolute path, as in ?pin-source=file:/etc/sallyport/edge.pin, or credential:NAME or env:NAME"}
}

// attributesOf are the attributes of the path of a key's URI, as far as they
// can be read.
func attributesOf(uri string) map[string]string {
	attributes := map[string]string{}
	path, _, _ := strings.Cut(strings.TrimPrefix(uri, "pkcs11:"), "?")
	for attribute := range strings.SplitSeq(path, ";") {
		name, value, _ := strings.Cut(attribute, "=")
		if text, err := url.PathUnescape(value); err == nil {
			attributes[name] = text
		}
	}
	return attributes
}

// isNamedBy says whether a key's URI names t in the way that the configuration
// does: by the same label, serial number or slot.
func (t Token) isNamedBy(attributes map[string]string) bool {
	is := func(name, want string) bool {
		value, ok := attributes[name]
		return ok && want != "" && value == want
	}
	return is("token", t.Token) || is("serial", t.Serial) ||
		t.Slot != nil && is("slot-id", strconv.FormatUint(uint64(*t.Slot), 10))
}

// takePINSources gives tokens the PINs' sources that their keys' URIs name. A
// token has one source, from one of the two places.
func (c *Config) takePINSources(sites, tokens place) {
	from := make(map[int]place) // token → where its source is from
	for i := range c.Sites {
		for j := range c.Sites[i].Certificates {
			at := sites.item(i).key("certificates").item(j).key("key")
			key, source, err := cutPINSource(c.Sites[i].Certificates[j].Key)
			if err != nil || source.IsZero() || at.isMuted() {
				continue
			}
			c.takePINSource(at, tokens, attributesOf(key), source, from)
		}
	}
}

func (c *Config) takePINSource(at, tokens place, attributes map[string]string, source PINSource, from map[int]place) {
	if tokens.isMuted() {
		return
	}
	var named []int
	for i, t := range c.HSM.Tokens {
		if tokens.item(i).isMuted() || tokens.item(i).key("pin").isMuted() {
			return // it may be the one
		}
		if t.isNamedBy(attributes) {
			named = append(named, i)
		}
	}
	if len(named) != 1 {
		message := "has a pin-source, and names no token of hsm.tokens that it could be for"
		if len(named) > 1 {
			message = "has a pin-source, and names more than one token of hsm.tokens"
		}
		at.say(message, "the URI's token= or serial= must be the one of the token's settings; or say it by the token's pin")
		return
	}
	t := &c.HSM.Tokens[named[0]]
	switch first, taken := from[named[0]]; {
	case !taken && t.PIN.IsZero():
		t.PIN, from[named[0]] = source, at
	case !taken:
		at.say("has a pin-source, and so has the token: "+tokens.item(named[0]).key("pin").path, "say it in one place")
	case t.PIN != source:
		at.say("has another pin-source than "+first.path+" for the same token", "say it in one place")
	}
}
