package signer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
	pkgerrors "github.com/pkg/errors"

	"sallyport/hsm/wire"
)

func TestFailed_FindsTheReturnValueHoweverItIsWrapped(t *testing.T) {
	pin := pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)
	for name, err := range map[string]error{
		"bare":              pin,
		"by fmt":            fmt.Errorf("log in: %w", pin),
		"by crypto11":       pkgerrors.WithMessage(pin, "failed to log in"),
		"by crypto11 twice": pkgerrors.WithMessage(pkgerrors.WithMessage(pin, "a"), "b"),
		"by both":           fmt.Errorf("open: %w", pkgerrors.WithMessage(fmt.Errorf("login: %w", pin), "b")),
	} {
		if f := failed(err); f.Class != wire.PIN || f.Code != uint64(pin) {
			t.Errorf("%s: class %s, code %#x", name, f.Class, f.Code)
		}
	}
	if f := failed(errors.New("anything")); f.Class != wire.Request || f.Code != 0 {
		t.Errorf("no PKCS#11 error: class %s, code %#x", f.Class, f.Code)
	}
}

func TestClassOf(t *testing.T) {
	for rv, want := range map[uint]wire.Class{
		pkcs11.CKR_PIN_LOCKED:              wire.PIN,
		pkcs11.CKR_SESSION_HANDLE_INVALID:  wire.Session,
		pkcs11.CKR_USER_NOT_LOGGED_IN:      wire.Session,
		pkcs11.CKR_DEVICE_ERROR:            wire.Device,
		pkcs11.CKR_TOKEN_NOT_PRESENT:       wire.Device,
		pkcs11.CKR_GENERAL_ERROR:           wire.Device,
		pkcs11.CKR_VENDOR_DEFINED + 1:      wire.Device,
		pkcs11.CKR_KEY_HANDLE_INVALID:      wire.Session,
		pkcs11.CKR_KEY_TYPE_INCONSISTENT:   wire.Request,
		pkcs11.CKR_MECHANISM_PARAM_INVALID: wire.Request,
	} {
		if got := classOf(rv); got != want {
			t.Errorf("%s: %s, want %s", pkcs11.Error(rv), got, want)
		}
	}
}

func TestPIN_NeverShows(t *testing.T) {
	p := pin("83736251")
	var logs strings.Builder
	log := slog.New(slog.NewJSONHandler(&logs, nil))
	log.Info("a", "pin", p, "in a struct", struct{ P pin }{p}, "wrapped", fmt.Errorf("pin %v", p))
	slog.New(slog.NewTextHandler(&logs, nil)).Info("a", "pin", p, "s", []pin{p})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&logs, verb, p)
		fmt.Fprintf(&logs, verb, struct{ P pin }{p})
	}
	for _, form := range []string{string(p), fmt.Sprintf("%x", string(p))} {
		if strings.Contains(logs.String(), form) {
			t.Errorf("it shows: %s", logs.String())
		}
	}
}

func TestReadPIN_CredentialOfSystemd(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "edge"), []byte("1234\r\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	p, err := readPIN("credential:edge")
	if err != nil || string(p) != "1234" {
		t.Errorf("got %d bytes, %v", len(p), err)
	}
	if _, err := readPIN("credential:../edge"); err == nil {
		t.Error("a path was taken for a credential's name")
	}
}
