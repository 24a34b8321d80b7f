package hsmtest_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/hsmtest"
)

// module is the faulty module loaded by the test itself, without a signer
// process in between: what it returns is seen as it is. It is SoftHSM's, since
// other vendors' may need what only a new process can have in its environment.
type module struct {
	*pkcs11.Ctx
	t       *testing.T
	pin     string
	slot    uint
	session pkcs11.SessionHandle // logged in
}

func load(t *testing.T) (*hsmtest.Faulty, *module) {
	t.Helper()
	s := hsmtest.NewSoftHSM(t)
	f := hsmtest.NewFaulty(t, s)
	for name, value := range f.Environment {
		t.Setenv(name, value)
	}
	m := &module{Ctx: pkcs11.New(f.Module), t: t, pin: s.PIN}
	if m.Ctx == nil {
		t.Fatal("the module cannot be loaded")
	}
	m.ok(m.Initialize())
	t.Cleanup(func() {
		f.Heal()
		m.ok(m.Finalize())
	})
	m.begin()
	return f, m
}

// begin finds the token, opens a session and logs in.
func (m *module) begin() {
	m.t.Helper()
	slots, err := m.GetSlotList(true)
	m.ok(err)
	for _, slot := range slots {
		if info, err := m.GetTokenInfo(slot); err == nil && info.Label == "edge" {
			m.slot = slot
			m.session = m.open()
			m.ok(m.login(m.pin))
			return
		}
	}
	m.t.Fatalf("no token in slots %v", slots)
}

func (m *module) open() pkcs11.SessionHandle {
	m.t.Helper()
	h, err := m.OpenSession(m.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	m.ok(err)
	return h
}

func (m *module) login(pin string) error { return m.Login(m.session, pkcs11.CKU_USER, pin) }

// sign signs with the key "ec" in m.session.
func (m *module) sign() error {
	m.t.Helper()
	m.ok(m.FindObjectsInit(m.session, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_LABEL, "ec"),
	}))
	found, _, err := m.FindObjects(m.session, 1)
	m.ok(err)
	m.ok(m.FindObjectsFinal(m.session))
	if len(found) != 1 {
		return errors.New("the key is not to be seen")
	}
	if err := m.SignInit(m.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}, found[0]); err != nil {
		return err
	}
	_, err = m.Sign(m.session, make([]byte, 32))
	return err
}

func (m *module) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *module) wants(rv uint, err error) {
	m.t.Helper()
	if !errors.Is(err, pkcs11.Error(rv)) {
		m.t.Errorf("got %v, want %v", err, pkcs11.Error(rv))
	}
}

// loggedIn says whether the session is one of a user.
func (m *module) loggedIn() bool {
	m.t.Helper()
	info, err := m.GetSessionInfo(m.session)
	m.ok(err)
	return slices.Contains([]uint{1, 3}, info.State) // CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS
}

func TestFaultyModule_LostSessionsStayLost(t *testing.T) {
	f, m := load(t)
	m.ok(m.sign())
	f.LoseSessions()
	_, err := m.GetSessionInfo(m.session)
	m.wants(pkcs11.CKR_SESSION_HANDLE_INVALID, err)
	f.Heal()
	_, err = m.GetSessionInfo(m.session)
	m.wants(pkcs11.CKR_SESSION_HANDLE_INVALID, err)
	m.wants(pkcs11.CKR_SESSION_HANDLE_INVALID, m.CloseSession(m.session))

	m.session = m.open()
	if m.loggedIn() {
		t.Error("the login outlived the last session")
	}
	m.ok(m.login(m.pin))
	m.ok(m.sign())
}

func TestFaultyModule_NoNewSessionsIfToldSo(t *testing.T) {
	f, m := load(t)
	f.LoseSessions()
	f.Return("C_OpenSession", hsmtest.CKR_SESSION_COUNT, 0)
	_, err := m.OpenSession(m.slot, pkcs11.CKF_SERIAL_SESSION)
	m.wants(pkcs11.CKR_SESSION_COUNT, err)
}

func TestFaultyModule_ALostLoginWantsThePINAgain(t *testing.T) {
	f, m := load(t)
	f.LoseLogin()
	m.wants(pkcs11.CKR_USER_NOT_LOGGED_IN, m.sign())
	if m.loggedIn() {
		t.Error("the session is still a user's")
	}
	m.wants(pkcs11.CKR_PIN_INCORRECT, m.login("77778888"))
	m.wants(pkcs11.CKR_USER_NOT_LOGGED_IN, m.Logout(m.session))
	m.ok(m.login(m.pin))
	m.ok(m.sign())
	if !m.loggedIn() {
		t.Error("the session is not a user's")
	}
}

func TestFaultyModule_AVanishedTokenIsGoneAndReturns(t *testing.T) {
	f, m := load(t)
	f.Vanish()
	slots, err := m.GetSlotList(true)
	if err != nil || len(slots) != 0 {
		t.Errorf("slots %v, %v", slots, err)
	}
	_, err = m.GetTokenInfo(m.slot)
	m.wants(pkcs11.CKR_TOKEN_NOT_PRESENT, err)
	_, err = m.OpenSession(m.slot, pkcs11.CKF_SERIAL_SESSION)
	m.wants(pkcs11.CKR_TOKEN_NOT_PRESENT, err)
	_, err = m.GetSessionInfo(m.session)
	m.wants(pkcs11.CKR_DEVICE_REMOVED, err)

	f.Reappear()
	_, err = m.GetSessionInfo(m.session)
	m.wants(pkcs11.CKR_SESSION_HANDLE_INVALID, err)
	m.begin()
	m.ok(m.sign())
}

// A process that makes no call while the token is away has lost its sessions too.
func TestFaultyModule_AShortAbsenceIsNoticed(t *testing.T) {
	f, m := load(t)
	f.Vanish()
	f.Reappear()
	_, err := m.GetSessionInfo(m.session)
	m.wants(pkcs11.CKR_SESSION_HANDLE_INVALID, err)
}

func TestFaultyModule_AWedgedModuleWantsToBeInitialisedAnew(t *testing.T) {
	f, m := load(t)
	f.Wedge()
	_, err := m.GetInfo()
	m.wants(pkcs11.CKR_DEVICE_ERROR, err)
	f.Heal()
	_, err = m.GetSlotList(true)
	m.wants(pkcs11.CKR_DEVICE_ERROR, err)
	m.wants(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED, m.Initialize())
	m.ok(m.Finalize())
	m.ok(m.Initialize())
	m.begin()
	m.ok(m.sign())
}

// C_Sign ends its operation whatever it returns (PKCS#11 v2.40 §5.11), so the
// session is good for the next one.
func TestFaultyModule_AFailedSignatureEndsItsOperation(t *testing.T) {
	f, m := load(t)
	f.Return("C_Sign", hsmtest.CKR_FUNCTION_FAILED, 1)
	m.wants(pkcs11.CKR_FUNCTION_FAILED, m.sign())
	m.ok(m.sign())
	if c := f.Stats()["C_Sign"]; c.Made != 2 || c.Faulted != 1 {
		t.Errorf("%+v", c) // a question for the length would make it four
	}
}

func TestFaultyModule_ReturnsBeforeTheRealCallOrAfter(t *testing.T) {
	f, m := load(t)
	f.Return("C_Login", hsmtest.CKR_GENERAL_ERROR, 1)
	f.ReturnAfter("C_Logout", hsmtest.CKR_GENERAL_ERROR, 1)
	m.wants(pkcs11.CKR_GENERAL_ERROR, m.Logout(m.session))
	if m.loggedIn() {
		t.Error("C_Logout was not made")
	}
	m.wants(pkcs11.CKR_GENERAL_ERROR, m.login(m.pin))
	if m.loggedIn() {
		t.Error("C_Login was made")
	}
	m.ok(m.login(m.pin))
}

// A fault for a function itself goes before one for all.
func TestFaultyModule_TheFunctionsOwnFaultGoesFirst(t *testing.T) {
	f, m := load(t)
	f.Return("*", hsmtest.CKR_HOST_MEMORY, 1)
	f.Return("C_GetInfo", hsmtest.CKR_FUNCTION_FAILED, 1)
	_, err := m.GetInfo()
	m.wants(pkcs11.CKR_FUNCTION_FAILED, err)
	_, err = m.GetInfo()
	m.wants(pkcs11.CKR_HOST_MEMORY, err)
	_, err = m.GetInfo()
	m.ok(err)
}
