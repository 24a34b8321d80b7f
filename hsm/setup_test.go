package hsm_test

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// What is wrong with a token's settings is said in words that an operator can
// act on, without the PIN and without a Go trace.
func TestToken_SaysWhatIsWrongWithItsSettings(t *testing.T) {
	s := hsmtest.New(t)
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(s.Dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wrong := "77778888"
	for name, c := range map[string]struct {
		change  func(*hsm.Config)
		want    string
		hint    string
		setting string
	}{
		"no such module": {func(c *hsm.Config) { c.Settings.Module = "/nowhere/lib.so" }, "no such file", "vendor's PKCS#11 library", "module"},
		"a module that is no library": {func(c *hsm.Config) { c.Settings.Module = write("text.so", "hello", 0o600) },
			"is not a shared library", ".so", "module"},
		"a library that is no module": {func(c *hsm.Config) { c.Settings.Module = someLibrary(t) }, "lacks C_GetFunctionList", "vendor's", "module"},
		"a module by a bare name":     {func(c *hsm.Config) { c.Settings.Module = "libnowhere.so" }, "cannot be loaded", "whole path", "module"},
		"no such label":               {func(c *hsm.Config) { c.Settings.Label = "prod" }, `no token has the label "prod"; there is slot`, "token list", "token"},
		"no such serial": {func(c *hsm.Config) { c.Settings.Label, c.Settings.Serial = "", "0000" },
			`no token has the serial "0000"`, "token list", "serial"},
		"no PIN file": {func(c *hsm.Config) { c.Settings.PIN = "file:/nowhere/pin" }, "no such file", "", "pin"},
		"a PIN file for everyone": {func(c *hsm.Config) { c.Settings.PIN = "file:" + write("open.pin", s.PIN, 0o644) },
			"open to every user (mode 0644)", "chmod o=", "pin"},
		"an empty PIN file":        {func(c *hsm.Config) { c.Settings.PIN = "file:" + write("empty.pin", "\n", 0o600) }, "is empty", "", "pin"},
		"a PIN file of many lines": {func(c *hsm.Config) { c.Settings.PIN = "file:" + write("long.pin", "1\n2\n", 0o600) }, "more than one line", "", "pin"},
		"a PIN file with a byte order mark": {func(c *hsm.Config) { c.Settings.PIN = "file:" + write("bom.pin", "\uFEFF"+s.PIN+"\n", 0o600) },
			"begins with a byte order mark", "without one", "pin"},
		"a PIN file in UTF-16": {func(c *hsm.Config) { c.Settings.PIN = "file:" + write("utf16.pin", utf16LE(s.PIN), 0o600) },
			"begins with a byte order mark", "without one", "pin"},
		"a folder as PIN file": {func(c *hsm.Config) { c.Settings.PIN = "file:" + s.Dir }, "not a regular file", "", "pin"},
		"a credential outside systemd": {func(c *hsm.Config) { c.Settings.PIN = "credential:pin" },
			"$CREDENTIALS_DIRECTORY is not set", "LoadCredential=pin", "pin"},
		"a wrong PIN": {func(c *hsm.Config) { c.Settings.PIN = "file:" + write("wrong.pin", wrong, 0o600) },
			"refuses the PIN: pkcs11: 0xA0: CKR_PIN_INCORRECT", "will not be tried again", "pin"},
	} {
		t.Run(name, func(t *testing.T) {
			config := configOf(s)
			c.change(&config)
			token, logs := start(t, config)
			err := token.Ready(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			var e *hsm.Error
			if !errors.As(err, &e) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("hint %q, want %q", e.Hint, c.hint)
			}
			if e.Setting != c.setting {
				t.Errorf("blames %q, want %q", e.Setting, c.setting)
			}
			for _, secret := range []string{s.PIN, wrong} {
				if all := err.Error() + e.Hint + logs.String(); strings.Contains(all, secret) {
					t.Errorf("the PIN shows: %s", all)
				}
			}
			if strings.Contains(logs.String(), "goroutine ") {
				t.Errorf("a Go trace shows:\n%s", logs)
			}
		})
	}
}

// someLibrary returns a shared library that is no PKCS#11 module.
func someLibrary(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/lib/*-linux-gnu/libc.so.6", "/lib64/libc.so.6"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatal("no C library found")
	return ""
}

func TestToken_AWrongPINIsTriedOnce(t *testing.T) {
	s := hsmtest.New(t)
	path := filepath.Join(s.Dir, "wrong.pin")
	if err := os.WriteFile(path, []byte("77778888"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := configOf(s)
	c.Settings.PIN = "file:" + path
	token, logs := start(t, c)
	if err := token.Ready(t.Context()); !errors.Is(err, hsm.ErrPIN) {
		t.Fatalf("got %v, want ErrPIN", err)
	}
	if state, _ := token.State(); state != hsm.Locked {
		t.Errorf("state %s, want locked", state)
	}
	// Only Unlock leaves that state: no process is there any more.
	if pids := children(t); len(pids) != 0 {
		t.Errorf("signer processes %v still run", pids)
	}
	if n := strings.Count(logs.String(), "token state changed"); n != 1 {
		t.Errorf("%d changes of state, want one:\n%s", n, logs)
	}
}

func TestToken_SaysThatItsLibraryDoesNotInitialise(t *testing.T) {
	c := configOf(hsmtest.NewSoftHSM(t))
	c.Environment = map[string]string{"SOFTHSM2_CONF": "/nowhere"}
	token, _ := start(t, c)
	err := token.Ready(t.Context())
	var e *hsm.Error
	if !errors.As(err, &e) || e.Setting != "module" || !strings.Contains(e.Error(), "does not initialise") || !strings.Contains(e.Hint, "environment") {
		t.Errorf("got %v, %#v", err, e)
	}
}

func TestToken_TwoTokensOfOneLabelAreNotGuessedBetween(t *testing.T) {
	s := hsmtest.NewSoftHSM(t)
	cmd := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "edge", "--pin", "11112222", "--so-pin", "33334444")
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+s.Environment["SOFTHSM2_CONF"])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	token, _ := start(t, configOf(s))
	if err := token.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), `2 tokens have the label "edge"`) {
		t.Errorf("got %v", err)
	}
	slots, err := hsm.Slots(t.Context(), configOf(s), slog.New(slog.DiscardHandler))
	if err != nil || len(slots) != 2 {
		t.Fatalf("%d slots, %v", len(slots), err)
	}
	c := configOf(s)
	slot := slots[0].Token.Slot
	if len(slots[0].Certificates) == 0 {
		slot = slots[1].Token.Slot
	}
	c.Settings.Label, c.Settings.Slot = "", &slot
	up(t, c)
}
