package hsm

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestKeyring_RemindsOnceAndThenDaily(t *testing.T) {
	var logs bytes.Buffer
	r := NewKeyring(nil, time.Hour, slog.New(slog.NewTextHandler(&logs, nil)))
	end := time.Date(2030, 6, 30, 12, 0, 0, 0, time.UTC)
	leaf := &x509.Certificate{Raw: []byte("leaf"), SerialNumber: big.NewInt(1), NotAfter: end}
	c := &Certificates{site: "www"}
	c.serving.Store(&[]served{{pairs: []*Pair{{Key: &Key{}, Chain: Chain{leaf}}}}})
	r.sites = append(r.sites, c)
	for _, step := range []struct {
		before time.Duration // the end
		want   string        // in the log; "": nothing is logged
	}{
		{15 * 24 * time.Hour, ""},
		{14*24*time.Hour - time.Minute, "level=WARN msg=\"certificate expires soon\""},
		{14*24*time.Hour - time.Hour, ""},
		{13*24*time.Hour - time.Minute, "days_left=12"},
		{time.Hour, "days_left=0"},
		{-time.Minute, "level=ERROR msg=\"certificate has expired and is still served\""},
		{-time.Hour, ""},
		{-25 * time.Hour, "days_left=-1"},
		{30 * 24 * time.Hour, ""},
	} {
		logs.Reset()
		r.remind(end.Add(-step.before))
		if got := logs.String(); (step.want == "") != (got == "") || !strings.Contains(got, step.want) {
			t.Errorf("%s before the end: logged %q, want %q", step.before, got, step.want)
		}
	}
}

// An intermediate may end before the leaf, and ends the chain with it.
func TestKeyring_RemindsOfAnIntermediate(t *testing.T) {
	var logs bytes.Buffer
	r := NewKeyring(nil, time.Hour, slog.New(slog.NewTextHandler(&logs, nil)))
	end := time.Date(2030, 6, 30, 12, 0, 0, 0, time.UTC)
	leaf := &x509.Certificate{Raw: []byte("leaf"), SerialNumber: big.NewInt(1), NotAfter: end.AddDate(0, 3, 0)}
	intermediate := &x509.Certificate{Raw: []byte("intermediate"), Subject: pkix.Name{CommonName: "intermediate"}, NotAfter: end}
	c := &Certificates{site: "www"}
	c.serving.Store(&[]served{{pairs: []*Pair{{Key: &Key{}, Chain: Chain{leaf, intermediate}}}}})
	r.sites = append(r.sites, c)
	r.remind(end.Add(-15 * 24 * time.Hour))
	if logs.Len() > 0 {
		t.Errorf("too early: %s", &logs)
	}
	r.remind(end.Add(-24 * time.Hour))
	if got := logs.String(); !strings.Contains(got, "certificate expires soon") || !strings.Contains(got, "days_left=1 intermediate=\"CN=intermediate\"") {
		t.Errorf("logged %q", got)
	}
}
