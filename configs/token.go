package configs

import (
	"maps"
	"time"
)

// PKCS#11 keeps a token's label and serial number in fields of these sizes.
const (
	maxLabel  = 32
	maxSerial = 16
)

// minSignTimeout is less than any device needs.
const minSignTimeout = 10 * time.Millisecond

func (t Token) validate(p place) {
	checkName(p.key("name"), t.Name)
	if t.Module == "" {
		required(p.key("module"))
	}
	t.validateIdentity(p)
	if t.PIN.IsZero() {
		p.key("pin").say("is required", pinForms)
	}
	between(p.key("sessions"), t.Sessions, 1, 1024)
	between(p.key("processes"), t.Processes, 1, 16)
	if t.SignTimeout < Duration(minSignTimeout) {
		p.key("sign_timeout").say(t.SignTimeout.String()+" is too short", "at least "+Duration(minSignTimeout).String())
	}
	between(p.key("queue"), t.Queue, 1, 100_000)
}

// refuseTwins wants no token to be configured twice: each of its keys would be
// found twice, and a wrong PIN be tried twice. Only what is written alike is seen
// here.
func refuseTwins(p place, tokens []Token) {
	for i, t := range tokens {
		for j, other := range tokens[:i] {
			if t.Module != "" && t.selects(other) && !p.item(i).isMuted() && !p.item(j).isMuted() {
				p.item(i).say("is the same token as "+p.item(j).path, "one entry serves all sites; more signer processes are set by processes")
				break
			}
		}
	}
}

// selects says whether t and other find their token in the same way. The
// environment may lead a library to other tokens.
func (t Token) selects(other Token) bool {
	slot := func(s *uint) int {
		if s == nil {
			return -1
		}
		return int(*s)
	}
	return t.Module == other.Module && t.Token == other.Token && t.Serial == other.Serial &&
		slot(t.Slot) == slot(other.Slot) && maps.Equal(t.Environment, other.Environment)
}

// validateIdentity wants exactly one way of finding the token.
func (t Token) validateIdentity(p place) {
	var given []string
	for key, set := range map[string]bool{"token": t.Token != "", "serial": t.Serial != "", "slot": t.Slot != nil} {
		if p.key(key).isMuted() {
			return
		}
		if set {
			given = append(given, key)
		}
	}
	const hint = "give one of token (its label), serial and slot"
	switch {
	case len(given) == 0:
		p.say("nothing says which token of the module it is", hint)
	case len(given) > 1:
		p.say("more than one key says which token of the module it is", hint)
	case len(t.Token) > maxLabel:
		p.key("token").say("no token's label is longer than 32 bytes", "")
	case len(t.Serial) > maxSerial:
		p.key("serial").say("no token's serial number is longer than 16 bytes", "")
	}
}
