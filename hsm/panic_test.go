package hsm

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A panic while one site is looked at leaves the others their turn, and the keyring its
// work.
func TestKeyring_APanicIsOneSitesAlone(t *testing.T) {
	var logs bytes.Buffer
	r := NewKeyring(nil, time.Hour, slog.New(slog.NewTextHandler(&logs, nil)))
	bad, good := &Certificates{site: "bad", entries: []Entry{{}}}, &Certificates{site: "good"}
	bad.serve(nil) // although it has an entry
	good.serve(nil)
	before := good.serving.Load()
	r.sites = []*Certificates{bad, good}
	r.refresh(t.Context(), time.Now())
	if good.serving.Load() == before {
		t.Error("the other site was not looked at")
	}
	if text := logs.String(); strings.Count(text, "msg=panic in=keyring") != 1 || !strings.Contains(text, "index out of range") {
		t.Errorf("logged %s", text)
	}
}

func TestGuarded_TellsNothingOfWhatWasHeld(t *testing.T) {
	var logs bytes.Buffer
	const secret = "12345678"
	if !guarded(slog.New(slog.NewTextHandler(&logs, nil)), "keyring", func() { panic(secret) }) {
		t.Error("it did not panic")
	}
	if text := logs.String(); strings.Contains(text, secret) || !strings.Contains(text, "value=string") {
		t.Errorf("logged %s", text)
	}
}
