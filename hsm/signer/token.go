package signer

import (
	"fmt"
	"time"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// openToken is the token after the login.
type openToken struct {
	module   *module
	token    token
	sessions int // that workers may use at once
	crypto11 *crypto11.Context
}

// sessionWait bounds the wait for a session of crypto11. There is one for each
// worker, so nobody waits unless something leaks.
const sessionWait = 10 * time.Second

// openTokenOf finds the token that s selects and logs in, with one try.
//
// The module is initialised twice: once to find the token, without the PIN and
// with errors that say what is there, and once more by crypto11, which insists
// on doing that itself.
func openTokenOf(s wire.Settings) (*openToken, error) {
	m, err := loadModule(s.Module)
	if err != nil {
		return nil, err
	}
	all, err := m.tokens()
	if err != nil {
		return nil, err
	}
	t, err := choose(all, s)
	if err != nil {
		return nil, err
	}
	if err := mayLogin(t); err != nil {
		return nil, err
	}
	secret, err := readPIN(s.PIN)
	if err != nil {
		return nil, err
	}
	if err := m.ctx.Finalize(); err != nil {
		return nil, fmt.Errorf("initialise the module anew: %w", err)
	}

	slot := int(t.slot)
	c, err := crypto11.Configure(&crypto11.Config{
		Path:            s.Module,
		SlotNumber:      &slot,
		Pin:             string(secret),
		MaxSessions:     s.Sessions + 1, // one is kept for the login
		PoolWaitTimeout: sessionWait,
	})
	if err != nil {
		return nil, loginFailure(t, err)
	}
	sessions := s.Sessions
	if most := t.MaxRwSessionCount; most != pkcs11.CK_EFFECTIVELY_INFINITE && most != pkcs11.CK_UNAVAILABLE_INFORMATION {
		// crypto11 keeps to what the token says, so more workers would only wait.
		sessions = max(1, min(sessions, int(most)-1))
	}
	return &openToken{module: m, token: t, sessions: sessions, crypto11: c}, nil
}

// mayLogin refuses to spend a token's last tries: a locked token needs its
// security officer.
func mayLogin(t token) error {
	f := setup("token %q", t.Label).of("pin")
	f.Class = wire.PIN
	switch {
	case t.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		f.Code = pkcs11.CKR_PIN_LOCKED
		f.Cause += " has locked its PIN after too many wrong ones"
		return f.hint("its security officer can set a new PIN with the vendor's tool")
	case t.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		f.Code = pkcs11.CKR_PIN_INCORRECT
		f.Cause += " has one try left before it locks its PIN, so it is not used"
		return f.hint("log in once with the vendor's tool and the right PIN: that resets the count")
	}
	return nil
}

func loginFailure(t token, err error) error {
	f := failed(err)
	rv, ok := returnValue(err)
	if !ok || f.Class != wire.PIN {
		return fmt.Errorf("open token %q: %w", t.Label, err)
	}
	f.Setting = "pin"
	f.Cause = fmt.Sprintf("token %q refuses the PIN: %v", t.Label, rv)
	f.Hint = "it was tried once and will not be tried again; check the PIN before the token locks itself"
	return &failure{*f}
}
