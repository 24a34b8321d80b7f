package hsm

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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

// Who waits for a reading that panics hears of it at once.
func TestKeyring_APanicLeavesNobodyWaiting(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	token := NewToken(Config{Name: "edge"}, log, NewMetrics(prometheus.NewRegistry()))
	token.inventory.Token.Serial = "1"
	r := NewKeyring([]*Token{token}, time.Hour, log)
	r.serials = nil // although it notes them
	running, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = r.Run(running) })
	defer run.Wait()
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := r.RescanNow(ctx); !errors.Is(err, errPanicked) {
		t.Errorf("got %v", err)
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
