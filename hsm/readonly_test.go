package hsm_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
	"sallyport/hsm/wire"
)

// A token that is write-protected has read-only sessions alone, which are enough.
func TestToken_ThatIsWriteProtectedIsServed(t *testing.T) {
	s := hsmtest.New(t)
	for name, rv := range map[string]uint{
		"write-protected":            hsmtest.CKR_TOKEN_WRITE_PROTECTED,
		"read-only sessions":         hsmtest.CKR_SESSION_READ_ONLY,
		"read-only sessions already": hsmtest.CKR_SESSION_READ_ONLY_EXISTS,
	} {
		t.Run(name, func(t *testing.T) {
			config := configOf(s)
			f := hsmtest.NewFaulty(t, s)
			config.Settings.Module, config.Environment = f.Module, f.Environment
			f.WriteProtect(rv)
			token := up(t, config)
			site := siteOf(t, token, hsm.Entry{Key: uri(t, "pkcs11:object=ec")}, hsm.Entry{Key: uri(t, "pkcs11:object=rsa")})
			if _, err := sign(t, site.Certificate); err != nil {
				t.Error(err)
			}
			if err := token.Rescan(t.Context()); err != nil {
				t.Errorf("it cannot be read anew: %v", err)
			}
			e, err := token.Examine(t.Context())
			if err != nil || e.Opening.Opened != e.Opening.Wanted || !e.Flags.WriteProtected {
				t.Errorf("examined: %+v, %v", e, err)
			}
			if _, err := token.Secrets(t.Context()); err != nil {
				t.Error(err)
			}
			slots, err := hsm.Slots(t.Context(), config, slog.New(slog.DiscardHandler))
			if i := slices.IndexFunc(slots, func(inv wire.Inventory) bool { return inv.Token.Label == "edge" }); err != nil || i < 0 || len(slots[i].Certificates) == 0 || slots[i].Problem != "" {
				t.Errorf("it cannot be listed: %v", err)
			}
		})
	}
}

// A token that cannot be looked at does not hide the others.
func TestSlots_SaysWhichTokenCannotBeRead(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	softhsm(t, s, "--init-token", "--free", "--label", "other", "--pin", "1234", "--so-pin", "33334444")
	config := configOf(s)
	f := hsmtest.NewFaulty(t, s)
	config.Settings.Module, config.Environment = f.Module, f.Environment
	f.Return("C_OpenSession", hsmtest.CKR_TOKEN_NOT_PRESENT, 1)
	slots, err := hsm.Slots(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil || len(slots) != 2 {
		t.Fatalf("%d slots, %v", len(slots), err)
	}
	var problems []string
	for _, inv := range slots {
		problems = append(problems, inv.Problem)
	}
	if all := strings.Join(problems, ""); !strings.Contains(all, "CKR_TOKEN_NOT_PRESENT") || strings.Count(all, "open a session") != 1 {
		t.Errorf("problems %q", problems)
	}
}

// A key that wants a login for each signature cannot serve, and says so.
func TestToken_NamesKeysThatWantALoginForEachSignature(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	s.Tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "piv", "--id", "09", "--usage-sign", "--always-auth")
	token := up(t, configOf(s))
	_, _, err := hsm.FindKeys([]*hsm.Token{token}, uri(t, "pkcs11:object=piv"))
	if err == nil || !strings.Contains(err.Error(), "CKA_ALWAYS_AUTHENTICATE") {
		t.Errorf("got %v", err)
	}
	a := token.TryKey(t.Context(), keyNamed(t, token, "piv"))
	if a.Err == nil || !strings.Contains(a.Err.Error(), "CKA_ALWAYS_AUTHENTICATE") {
		t.Errorf("tried: %+v", a)
	}
	if state, reason := token.State(); state != hsm.Up {
		t.Errorf("it is %s: %v", state, reason)
	}
}

func keyNamed(t *testing.T, token *hsm.Token, label string) wire.Key {
	t.Helper()
	for _, k := range token.Inventory().Keys {
		if k.Label == label {
			return k
		}
	}
	t.Fatalf("there is no key %q", label)
	return wire.Key{}
}
