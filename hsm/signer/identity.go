package signer

import (
	"fmt"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// Session states of PKCS#11 v2.40 §3.3 without a user's login.
const (
	roPublicSession = 0
	rwPublicSession = 2
)

// unchanged returns a failure where the token is no longer the one that was
// opened, or the login is gone. Handles, login and sessions are then
// worth nothing, though the library may go on as if nothing had been: a new
// process finds out what there is now. s is any session.
func (o *openToken) unchanged(s *session) error {
	info, err := o.module.tokenInfo(o.token.slot)
	if err != nil {
		return fmt.Errorf("it no longer describes itself, as one that was deleted or taken out: %w", err)
	}
	now := token{o.token.slot, info}
	now.Label, now.SerialNumber = padded(info.Label), padded(info.SerialNumber)
	const initialized = pkcs11.CKF_TOKEN_INITIALIZED
	switch {
	case now.Label != o.token.Label || now.SerialNumber != o.token.SerialNumber:
		return changed("another token is in its place: %s, where there was %s", now, o.token)
	case o.token.Flags&initialized != 0 && info.Flags&initialized == 0:
		return changed("it is no longer initialised")
	}
	if !o.loggedIn {
		return nil
	}
	// Not every library tells the state, and some tell it wrong: one that shows no
	// login right after it says nothing later.
	state, err := s.ctx.GetSessionInfo(s.handle)
	public := err == nil && (state.State == roPublicSession || state.State == rwPublicSession)
	if !o.read {
		o.read, o.stateless = true, public || err != nil
	} else if public && !o.stateless {
		return changed("its login is gone, so its private keys are hidden")
	}
	return nil
}

// countKeys takes note of how many private keys were found. Libraries that keep a
// token in memory, as SoftHSM does, go on showing one that was deleted, without
// its objects; so where all keys are gone at once, a new process has to see it too.
func (o *openToken) countKeys(n int) error {
	if o.held > 0 && n == 0 {
		return changed("all %d keys are gone at once", o.held)
	}
	o.held = n
	return nil
}

// changed is the failure of a token that is not what it was.
func changed(format string, args ...any) *failure {
	f := &failure{wire.Failure{Class: wire.Session, Cause: "the token was deleted or made anew: " + fmt.Sprintf(format, args...)}}
	return f.hint("a new signer process opens what is there now; `sallyport status` shows how that went")
}
