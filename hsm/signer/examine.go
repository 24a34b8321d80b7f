package signer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/pkcs11"

	"sallyport/hsm/wire"
)

// examine finds out what the open token says of itself, and how its sessions
// open. An error means that the token could not be asked.
func (o *openToken) examine() (wire.Examination, error) {
	var e wire.Examination
	info, err := o.module.tokenInfo(o.token.slot)
	if err != nil {
		return e, fmt.Errorf("read the token's own description: %w", err)
	}
	read := time.Now()
	e.Library = o.module.describeLibrary()
	e.Hardware, e.Firmware = version(info.HardwareVersion), version(info.FirmwareVersion)
	e.Flags = tokenFlags(info.Flags)
	e.Limits = wire.Limits{Most: sessionCount(info.MaxSessionCount), Open: sessionCount(info.SessionCount)}
	if info.Flags&pkcs11.CKF_CLOCK_ON_TOKEN != 0 {
		e.Clock = tokenClock(info.UTCTime, read)
	}
	if e.Mechanisms, err = o.module.mechanisms(o.token.slot); err != nil {
		return e, err
	}
	e.Opening = o.module.timeSessions(o.token.slot, o.wanted)
	return e, nil
}

func (m *module) describeLibrary() wire.Library {
	info, err := m.ctx.GetInfo()
	if err != nil {
		return wire.Library{Description: m.path}
	}
	return wire.Library{
		Description:  strings.TrimSpace(info.LibraryDescription),
		Manufacturer: strings.TrimSpace(info.ManufacturerID),
		Version:      version(info.LibraryVersion),
		Cryptoki:     version(info.CryptokiVersion),
	}
}

// version prints a CK_VERSION, whose minor part is in hundredths (PKCS#11
// v2.40 §3.1), as vendors mean it: they count it like any other number.
func version(v pkcs11.Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

func tokenFlags(flags uint) wire.TokenFlags {
	has := func(flag uint) bool { return flags&flag != 0 }
	return wire.TokenFlags{
		LoginRequired:  has(pkcs11.CKF_LOGIN_REQUIRED),
		PINInitialized: has(pkcs11.CKF_USER_PIN_INITIALIZED),
		PINPad:         has(pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH),
		PINCountLow:    has(pkcs11.CKF_USER_PIN_COUNT_LOW),
		PINFinalTry:    has(pkcs11.CKF_USER_PIN_FINAL_TRY),
		PINLocked:      has(pkcs11.CKF_USER_PIN_LOCKED),
		PINToBeChanged: has(pkcs11.CKF_USER_PIN_TO_BE_CHANGED),
		RNG:            has(pkcs11.CKF_RNG),
		WriteProtected: has(pkcs11.CKF_WRITE_PROTECTED),
	}
}

// sessionCount is a count of CK_TOKEN_INFO; -1: the token does not say.
func sessionCount(n uint) int {
	if n == pkcs11.CK_UNAVAILABLE_INFORMATION || int(n) < 0 {
		return -1
	}
	return int(n)
}

// tokenClock reads a token's utcTime, YYYYMMDDhhmmssxx with xx reserved.
func tokenClock(text string, now time.Time) *wire.Clock {
	c := &wire.Clock{Text: text}
	const layout = "20060102150405"
	at, err := time.Parse(layout, text[:min(len(text), len(layout))])
	if err != nil {
		c.Error = "it is not in the form of PKCS#11"
		return c
	}
	c.Ahead = at.Sub(now.UTC().Truncate(time.Second))
	return c
}

// mattering are the mechanisms that TLS and ticket keys can need.
var mattering = []struct {
	name      string
	mechanism uint
}{
	{"CKM_RSA_PKCS", pkcs11.CKM_RSA_PKCS},
	{"CKM_RSA_PKCS_PSS", pkcs11.CKM_RSA_PKCS_PSS},
	{"CKM_ECDSA", pkcs11.CKM_ECDSA},
	{"CKM_SHA256_HMAC", pkcs11.CKM_SHA256_HMAC},
	{"CKM_AES_CMAC", pkcs11.CKM_AES_CMAC},
	{"CKM_GENERIC_SECRET_KEY_GEN", pkcs11.CKM_GENERIC_SECRET_KEY_GEN},
	{"CKM_AES_KEY_GEN", pkcs11.CKM_AES_KEY_GEN},
}

// mechanisms says which of those that matter the token lists, and how.
func (m *module) mechanisms(slot uint) ([]wire.Mechanism, error) {
	all, err := m.calls.mechanisms(slot)
	if err != nil {
		return nil, fmt.Errorf("list the mechanisms: %w", err)
	}
	var found []wire.Mechanism
	for _, known := range mattering {
		w := wire.Mechanism{Name: known.name}
		if slices.Contains(all, known.mechanism) {
			w.Listed = true
			// One that is listed and not described counts as listed.
			if info, err := m.ctx.GetMechanismInfo(slot, []*pkcs11.Mechanism{pkcs11.NewMechanism(known.mechanism, nil)}); err == nil {
				w.Sign = info.Flags&pkcs11.CKF_SIGN != 0
				w.Hardware = info.Flags&pkcs11.CKF_HW != 0
				w.MinKey, w.MaxKey = info.MinKeySize, info.MaxKeySize
			}
		}
		found = append(found, w)
	}
	return found, nil
}

// timeSessions opens sessions one after the other, and closes them again.
func (m *module) timeSessions(slot uint, wanted int) wire.Opening {
	o := wire.Opening{Wanted: wanted}
	var open []*session
	defer func() {
		for _, s := range open {
			s.close()
		}
	}()
	var took []time.Duration
	for len(open) < wanted {
		began := time.Now()
		s, err := m.openSession(slot)
		if err != nil {
			o.Reason = err.Error()
			break
		}
		took = append(took, time.Since(began))
		open = append(open, s)
	}
	o.Opened = len(open)
	if slices.Sort(took); len(took) > 0 {
		o.Median, o.Slowest = took[len(took)/2], took[len(took)-1]
	}
	return o
}
