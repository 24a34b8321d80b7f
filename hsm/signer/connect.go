package signer

import (
	"fmt"
	"reflect"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// connect initialises the module and finds the token that s selects. It needs
// no PIN and gives none: crypto11 takes the first token that fits, and a PIN
// must go to no other than the one that was meant.
//
// crypto11 insists on initialising the module itself, and all that follows goes
// through what it has initialised. Libraries exist that cannot be initialised
// twice in a process, and p11-kit's give each that asks a list of functions with
// an initialisation, sessions and logins of its own.
func connect(s wire.Settings) (*openToken, error) {
	if _, err := loadModule(s.Module); err != nil { // and so it stays loaded, whatever crypto11 does
		return nil, err
	}
	config := &crypto11.Config{
		Path: s.Module, TokenLabel: s.Label, TokenSerial: s.Serial, SlotNumber: slotNumber(s.Slot),
		LoginNotSupported: true,           // the login is for openTokenOf
		MaxSessions:       s.Sessions + 1, // one is kept for the login
		PoolWaitTimeout:   sessionWait,
	}
	c, err := crypto11.Configure(config)
	if err != nil {
		// It says little about why, and does not see through every way to pad a label.
		t, e := lookUp(s)
		if e != nil {
			return nil, e
		}
		config.TokenLabel, config.TokenSerial, config.SlotNumber = "", "", slotNumber(&t.slot)
		if c, err = crypto11.Configure(config); err != nil {
			return nil, fmt.Errorf("open token %q: %w", t.Label, err)
		}
	}
	o := &openToken{module: &module{path: s.Module, ctx: libraryOf(c)}, crypto11: c}
	all, unread, err := o.module.tokens()
	if err != nil {
		return nil, err
	}
	if o.token, err = choose(all, unread, s); err != nil {
		return nil, err
	}
	if slot := slotOf(c); slot != o.token.slot {
		return nil, setup("slot %d answers to the same name as %s", slot, o.token).of("slot").hint("select the token by slot:")
	}
	return o, nil
}

// lookUp finds the token by an initialisation that ends before it returns.
func lookUp(s wire.Settings) (token, error) {
	m, err := loadModule(s.Module)
	if err != nil {
		return token{}, err
	}
	if err := m.initialise(); err != nil {
		return token{}, err
	}
	defer func() { _ = m.ctx.Finalize() }() // where this fails, the next initialisation says so
	all, unread, err := m.tokens()
	if err != nil {
		return token{}, err
	}
	return choose(all, unread, s)
}

func slotNumber(slot *uint) *int {
	if slot == nil {
		return nil
	}
	n := int(*slot)
	return &n
}

// libraryOf is the library as c has initialised it, and slotOf the slot of its
// token. crypto11 shows neither, so both are taken from its private fields; a
// release that renames them fails every test.
func libraryOf(c *crypto11.Context) *pkcs11.Ctx {
	return (*pkcs11.Ctx)(reflect.ValueOf(c).Elem().FieldByName("ctx").UnsafePointer())
}

func slotOf(c *crypto11.Context) uint {
	return uint(reflect.ValueOf(c).Elem().FieldByName("slot").Uint())
}
