package configs

import (
	"regexp"
	"strings"
)

func (e FieldEdits) validate(p place) {
	each(p.key("set"), e.Set, Field.validate)
	each(p.key("add"), e.Add, Field.validate)
	distinct(p.key("set"), e.Set, "name", func(f Field) string { return strings.ToLower(f.Name) })
	for i, name := range e.Remove {
		checkFieldName(p.key("remove").item(i), name)
	}
}

func (f Field) validate(p place) {
	if f.Name == "" {
		required(p.key("name"))
	} else {
		checkFieldName(p.key("name"), f.Name)
	}
	at := p.key("value")
	switch {
	case f.Value == "":
		required(at)
	case strings.TrimSpace(f.Value) != f.Value:
		at.say("begins or ends with a blank", "")
	case strings.ContainsFunc(f.Value, notPrintable):
		at.say("holds characters that no field should have", "printable ASCII")
	}
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

// fieldSyntax is a token (RFC 9110 §5.6.2).
var fieldSyntax = regexp.MustCompile("^[0-9A-Za-z!#$%&'*+.^_`|~-]+$")

// Why a field is not edited, by its name in lower case with dashes only.
var unedited = map[string]string{
	"connection":          "it belongs to one connection",
	"keep-alive":          "it belongs to one connection",
	"proxy-connection":    "it belongs to one connection",
	"proxy-authenticate":  "it belongs to one connection",
	"proxy-authorization": "it belongs to one connection",
	"te":                  "it belongs to one connection",
	"upgrade":             "it belongs to one connection",
	"http2-settings":      "it belongs to one connection",
	"transfer-encoding":   "it frames the message",
	"content-length":      "it frames the message",
	"trailer":             "it frames the message",
	"expect":              "it frames the message",
	"host":                "backends get the client's, which decides the route",

	"forwarded":    "it is written for each request; trusted_proxies says whom to believe",
	"x-real-ip":    "it passes from trusted_proxies alone; backends find the client in Forwarded and X-Forwarded-For",
	"x-request-id": "it is written for each request; a listener's request_id is about answers",

	"strict-transport-security": "it is the site's: hsts",
}

func checkFieldName(p place, name string) {
	if !fieldSyntax.MatchString(name) {
		p.say(quote(name)+" is not the name of a field", "such as X-Frame-Options")
		return
	}
	plain := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	hint, no := unedited[plain]
	if strings.HasPrefix(plain, "x-forwarded-") {
		hint, no = unedited["forwarded"], true
	}
	if no {
		p.say("the field "+quote(name)+" is not edited", hint)
	}
}
