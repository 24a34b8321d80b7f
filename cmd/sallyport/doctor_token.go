package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/wire"
)

// examine looks at what the token says of itself.
func (d *doctorVisit) examine(ctx context.Context, token *hsm.Token) {
	r := &d.report
	e, err := token.Examine(ctx)
	if err != nil {
		d.unanswered(ctx, "token", err)
		return
	}
	r.Examination = &e
	info := token.Inventory().Token
	r.add("token", "library", levelOK, "%s %s, by %s, for PKCS#11 %s (%s)",
		e.Library.Description, e.Library.Version, e.Library.Manufacturer, e.Library.Cryptoki, d.token.Settings.Module)
	r.add("token", "device", levelOK, "%s, by %s, hardware %s, firmware %s", info.Model, info.Manufacturer, e.Hardware, e.Firmware)
	r.add("token", "identity", levelOK, "label %q, serial %q, slot %d", info.Label, info.Serial, info.Slot)
	r.login(e.Flags)
	if e.Flags.WriteProtected {
		r.add("token", "writing", levelOK, "the token is write-protected, which Sallyport needs not: keys and certificates are made elsewhere")
	}
	r.clock(e.Clock)
	r.sessions(e.Opening, e.Limits)
	for _, m := range e.Mechanisms {
		r.mechanism(m, token.Inventory().Keys)
	}
}

// unanswered is a warning alone: handshakes ask no such question.
func (d *doctorVisit) unanswered(ctx context.Context, check string, err error) {
	if ctx.Err() == nil {
		d.report.add(check, "no answer", levelWarn, "%v", err)
		d.report.hint(hintOf(err))
	}
}

// login judges the flags that a token shows after a login that went well.
func (r *doctorReport) login(f wire.TokenFlags) {
	switch {
	case f.PINLocked || f.PINFinalTry || f.PINCountLow:
		r.add("token", "login", levelWarn, "the PIN was accepted, but the token still counts wrong ones")
		r.hint("Sallyport does not log in to a token with one try left; the vendor's tool resets the count")
	case f.PINToBeChanged:
		r.add("token", "login", levelWarn, "the PIN was accepted, but the token wants it changed")
	case f.PINPad:
		r.add("token", "login", levelOK, "the login was accepted at the one try; the token has a PIN pad, for which the setting is pin: none")
	case !f.LoginRequired:
		r.add("token", "login", levelWarn, "the token needs no login: whoever reaches it can use its keys")
	default:
		r.add("token", "login", levelOK, "the PIN was accepted at the one try, and no wrong one is counted")
	}
}

// clockTolerance is how far a token's clock may be from this machine's.
const clockTolerance = time.Minute

func (r *doctorReport) clock(c *wire.Clock) {
	switch {
	case c == nil:
		r.add("token", "clock", levelOK, "the token has none")
	case c.Error != "":
		r.add("token", "clock", levelWarn, "the token says %q: %s", c.Text, c.Error)
	case c.Ahead.Abs() > clockTolerance:
		r.add("token", "clock", levelWarn, "%s", describeAhead(c.Ahead))
		r.hint("certificates are judged by this machine's clock: is it right?")
	default:
		r.add("token", "clock", levelOK, "%s", describeAhead(c.Ahead))
	}
}

func describeAhead(ahead time.Duration) string {
	switch {
	case ahead > 0:
		return fmt.Sprintf("the token's is %s ahead of this machine's", ahead)
	case ahead < 0:
		return fmt.Sprintf("the token's is %s behind this machine's", -ahead)
	}
	return "the token's agrees with this machine's"
}

func (r *doctorReport) sessions(o wire.Opening, l wire.Limits) {
	limit := "the token names no limit"
	if l.Most > 0 {
		limit = fmt.Sprintf("the token allows %d, of all processes together", l.Most)
	}
	if o.Opened < o.Wanted {
		r.add("token", "sessions", levelWarn, "%d of %d opened beside that of the login, then: %s; %s", o.Opened, o.Wanted, o.Reason, limit)
		r.hint("no more signatures than that are under way at once; the others wait")
		return
	}
	r.add("token", "sessions", levelOK, "%d of %d opened beside that of the login, in %s each, the slowest in %s; %s",
		o.Opened, o.Wanted, latency(o.Median), latency(o.Slowest), limit)
}

// mechanismUses says what a token without a mechanism cannot do.
var mechanismUses = map[string]struct {
	use string
	rsa bool
}{
	"CKM_RSA_PKCS":     {"RSA keys in TLS 1.2 for older clients", true},
	"CKM_RSA_PKCS_PSS": {"RSA keys in TLS 1.3", true},
	"CKM_ECDSA":        {"ECDSA keys", false},
}

// mechanism judges one by the keys that are there, which may do without it.
func (r *doctorReport) mechanism(m wire.Mechanism, keys []wire.Key) {
	use, signing := mechanismUses[m.Name]
	needed := slices.ContainsFunc(keys, func(k wire.Key) bool { return k.Reason == "" && strings.HasPrefix(k.Type, "RSA") == use.rsa })
	isMAC := m.Name == "CKM_SHA256_HMAC" || m.Name == "CKM_AES_CMAC"
	where := "software"
	if m.Hardware {
		where = "hardware"
	}
	switch {
	case !m.Listed && signing && !needed:
		r.add("mechanism", m.Name, levelOK, "not listed; it is for %s, of which there are none", use.use)
	case !m.Listed && signing:
		r.add("mechanism", m.Name, levelWarn, "not listed; it is for %s", use.use)
	case !m.Listed:
		r.add("mechanism", m.Name, levelOK, "not listed; not needed for handshakes")
	case (signing || isMAC) && !m.Sign:
		r.add("mechanism", m.Name, levelWarn, "listed, but not for signing")
	case m.MaxKey > 0:
		r.add("mechanism", m.Name, levelOK, "in %s, key sizes %d to %d", where, m.MinKey, m.MaxKey)
	default:
		r.add("mechanism", m.Name, levelOK, "in %s", where)
	}
}

// trySecrets judges the secret keys, from which a token can derive others.
func (d *doctorVisit) trySecrets(ctx context.Context, token *hsm.Token) {
	r := &d.report
	l, err := token.Secrets(ctx)
	if err != nil {
		d.unanswered(ctx, "secret", err)
		return
	}
	r.Secrets = &l
	usable := func(k wire.Secret) bool { return k.Reason == "" }
	for _, k := range l.Keys {
		name := fmt.Sprintf("%q", k.Label)
		switch {
		case !usable(k):
			r.add("secret", name, levelWarn, "%s, makes no MAC: %s", k.Type, k.Reason)
		case k.Extractable:
			r.add("secret", name, levelWarn, "%s, but it can be extracted from the token", describeMAC(k))
		default:
			r.add("secret", name, levelOK, "%s, the same each time; not extractable", describeMAC(k))
		}
	}
	if len(l.Keys) == 0 {
		r.add("secret", "none", levelOK, "the token holds no secret key; session tickets are encrypted by keys in memory")
	}
	works := slices.ContainsFunc(l.SessionKeys, usable)
	for _, k := range l.SessionKeys {
		switch {
		case usable(k):
			r.add("secret", "trial", levelOK, "%s, the same each time; with a key of the session alone, which was destroyed", describeMAC(k))
		case works:
			r.add("secret", "trial", levelOK, "%s does not work: %s", k.Mechanism, k.Reason)
		default:
			r.add("secret", "trial", levelWarn, "%s does not work: %s", k.Mechanism, k.Reason)
		}
	}
}

func describeMAC(k wire.Secret) string {
	return fmt.Sprintf("%s, %s in %s", k.Type, k.Mechanism, latency(k.Took))
}

// latency prints a time with about two digits that count, and the least in µs.
func latency(d time.Duration) string {
	ms := d.Seconds() * 1e3
	switch {
	case ms < 0.1:
		return fmt.Sprintf("%d µs", max(1, d.Microseconds()))
	case ms < 1:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms >= 1000:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f ms", ms)
}
