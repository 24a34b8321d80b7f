package signer

import (
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// openToken is the token after the login.
type openToken struct {
	module   *module
	token    token
	any      bool             // all keys may sign
	filters  []wire.KeyFilter // of those that may
	wanted   int              // sessions that were asked for
	home     *session         // of the login
	sessions []*session       // for signatures, one each; home is among them where the token has no other
	few      int              // so many objects are read each time
	last     *reading         // of the objects; nil: none yet

	// For identity.go.
	loggedIn  bool
	read      bool // once, right after the login
	stateless bool // its sessions do not tell whether there is a login
	held      int  // private keys at the last reading
}

// openTokenOf finds the token that s selects and logs in, with one try. It tells
// when that begins and when it has succeeded.
func openTokenOf(s wire.Settings, tell func(wire.LoginStep) error) (*openToken, error) {
	o, err := connect(s)
	if err != nil {
		return nil, err
	}
	if err := o.login(s, tell); err != nil {
		return nil, err
	}
	o.wanted, o.any, o.filters = s.Sessions, s.Examining, s.Keys
	o.openSessions()
	return o, nil
}

// login logs this process in: a login is one of all sessions (PKCS#11 v2.40
// §5.6), and lasts as long as one is open, which home is. A token that needs none,
// such as nShield's accelerator, may refuse it.
func (o *openToken) login(s wire.Settings, tell func(wire.LoginStep) error) error {
	if err := mayLogin(o.token, s.Again); err != nil {
		return err
	}
	secret, err := readPIN(s.PIN)
	if err != nil {
		return err
	}
	if o.home, err = o.module.openSession(o.token.slot); err != nil {
		return err
	}
	if o.token.Flags&pkcs11.CKF_LOGIN_REQUIRED == 0 {
		return nil
	}
	if err := tell(wire.LoginBegins); err != nil {
		return err // nobody is there who would take note of the try
	}
	// An empty PIN goes as a null pointer, as a device with a PIN pad wants it
	// (CKF_PROTECTED_AUTHENTICATION_PATH).
	err = o.module.ctx.Login(o.home.handle, pkcs11.CKU_USER, string(secret))
	if rv, ok := returnValue(err); err != nil && !(ok && rv == pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		return loginFailure(o.token, secret, s.PIN, err)
	}
	o.loggedIn = true
	return tell(wire.LoginDone)
}

// openSessions opens as many sessions as are wanted, or as the token has. What it
// says of their number (CK_TOKEN_INFO) is often not what it does, so it is not
// heeded. A token that has none beside that of the login signs with this one.
func (o *openToken) openSessions() {
	for len(o.sessions) < o.wanted {
		s, err := o.module.openSession(o.token.slot)
		if err != nil {
			break
		}
		o.sessions = append(o.sessions, s)
	}
	if len(o.sessions) == 0 {
		o.sessions = []*session{o.home}
	}
}

// afterLock is what helps a token that has locked its PIN: no right PIN does.
const afterLock = "no PIN is taken any more: its security officer sets a new one with the vendor's tool " +
	"(pkcs11-tool --login-type so --init-pin, say); write that where the setting says, and then start sallyport, or `sallyport token unlock` where it runs"

// mayUse reports whether a key of the token may sign.
func (o *openToken) mayUse(info wire.TokenInfo, k wire.Key) bool {
	return o.any || slices.ContainsFunc(o.filters, func(f wire.KeyFilter) bool { return f.MatchesToken(info) && f.MatchesKey(k) })
}

// borrow returns a session for something that is no signature, and how it is given
// back: a new one, which shows whether the device still has any to give, or home
// where the sessions are used up.
func (o *openToken) borrow() (s *session, giveBack func(), err error) {
	s, err = o.module.openSession(o.token.slot)
	if rv, ok := returnValue(err); ok && rv == pkcs11.CKR_SESSION_COUNT {
		o.home.mu.Lock()
		return o.home, o.home.mu.Unlock, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return s, s.close, nil
}

// mayLogin refuses to spend a token's last tries: a locked token needs its
// security officer. Nor is a login repeated that may be what was counted as wrong.
func mayLogin(t token, again bool) error {
	f := setup("token %q", t.Label).of("pin")
	f.Class = wire.PIN
	switch {
	case t.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		f.Code = pkcs11.CKR_PIN_LOCKED
		f.Cause += " has locked its PIN after too many wrong ones"
		return f.hint(afterLock)
	case t.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		f.Code = pkcs11.CKR_PIN_INCORRECT
		f.Cause += " has one try left before it locks its PIN, so it is not used"
		return f.hint("log in once with the vendor's tool and the right PIN, which resets the count, and then start sallyport, or `sallyport token unlock` where it runs")
	case again && t.Flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0:
		f.Code = pkcs11.CKR_PIN_INCORRECT
		f.Cause += " has counted a wrong PIN since the last good login, so the login is not repeated"
		return f.hint("log in once with the vendor's tool and the right PIN, which resets the count; then `sallyport token unlock`")
	}
	return nil
}

// loginFailure sorts an error of C_Login. A refused login is never repeated,
// whatever its code: libraries have many names for a wrong PIN.
func loginFailure(t token, secret pin, source string, err error) error {
	rv, ok := returnValue(err)
	if ok && rv == pkcs11.CKR_USER_PIN_NOT_INITIALIZED {
		f := &failure{wire.Failure{Class: wire.Device, Code: uint64(rv), Setting: "pin"}}
		f.Cause = fmt.Sprintf("token %q has no user PIN yet", t.Label)
		return f.hint("set it with the vendor's tool; the login is tried again by itself, since there is no PIN that it could lock")
	}
	if !ok || deviceGone(rv) {
		return fmt.Errorf("log in to token %q: %w", t.Label, err)
	}
	f := failed(err)
	f.Class = wire.PIN
	f.Setting = "pin"
	f.Cause = fmt.Sprintf("token %q refuses the PIN: %v", t.Label, rv)
	f.Hint = fmt.Sprintf("it was tried once and will not be tried again, since tokens lock themselves: correct the PIN in %s, "+
		"and then start sallyport, or `sallyport token unlock` where it runs", source)
	pad := t.Flags&pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH != 0
	switch {
	case rv == pkcs11.CKR_PIN_LOCKED:
		f.Cause = fmt.Sprintf("token %q has locked its PIN after too many wrong ones: %v", t.Label, rv)
		f.Hint = afterLock
	case rv == pkcs11.CKR_PIN_EXPIRED:
		f.Cause = fmt.Sprintf("token %q says that the PIN has expired: %v", t.Label, rv)
		f.Hint = "set a new one with the vendor's tool, and write it where the setting says"
	case rv == pkcs11.CKR_PIN_LEN_RANGE || rv == pkcs11.CKR_PIN_INVALID:
		f.Cause = fmt.Sprintf("token %q takes no PIN of this length or with these characters: %v", t.Label, rv)
		f.Hint = "see whether the setting leads to the PIN and to nothing else"
	case secret != "" && pad:
		f.Hint = "the token has a PIN pad; where the PIN is entered there, the setting is pin: none"
	case secret == "" && pad:
		f.Cause = fmt.Sprintf("token %q refuses a login without a PIN: %v", t.Label, rv)
		f.Hint = "the right PIN was not entered on the device, or not in time"
	case secret == "":
		f.Cause = fmt.Sprintf("token %q refuses an empty PIN: %v", t.Label, rv)
		f.Hint = "the token has no PIN pad; the setting must say where its PIN is"
	}
	return &failure{*f}
}

// deviceGone says whether a login failed before the token could look at the
// PIN, for want of the device or of a session: that counts no try. CKR_GENERAL_ERROR
// and CKR_FUNCTION_FAILED are not among them, as some libraries say so of a wrong PIN.
func deviceGone(rv pkcs11.Error) bool {
	switch uint(rv) {
	case pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_MEMORY,
		pkcs11.CKR_HOST_MEMORY, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED,
		pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_COUNT:
		return true
	}
	return false
}
