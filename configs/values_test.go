package configs_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"sallyport/configs"
)

func TestDuration_PrintsAsItIsWritten(t *testing.T) {
	for _, text := range []string{"500ms", "30s", "1m", "10m", "1h", "1h30m", "1m30s", "24h", "1h0m1s"} {
		var d configs.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != text {
			t.Errorf("%s: got %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "30", "0s", "-1s", "24h1ns", "1d", "1 s", "9999999999h"} {
		var d configs.Duration
		if err := d.UnmarshalText([]byte(text)); err == nil || d != 0 {
			t.Errorf("%q is taken for %s", text, d)
		}
	}
}

func TestDays_PrintsAsItIsWritten(t *testing.T) {
	for _, text := range []string{"0d", "1d", "365d", "730d"} {
		var d configs.Days
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != text {
			t.Errorf("%s: got %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "d", "365", "01d", "-1d", "1.5d", "731d", "1d1h", "99999999999999999999d"} {
		var d configs.Days
		if err := d.UnmarshalText([]byte(text)); err == nil || d != 0 {
			t.Errorf("%q is taken for %s", text, d)
		}
	}
}

func TestSize_PrintsAsItIsWritten(t *testing.T) {
	for text, want := range map[string]configs.Size{
		"0": 0, "1": 1, "4095": 4095, "4KiB": 4 << 10, "1MiB": 1 << 20, "3GiB": 3 << 30,
	} {
		var s configs.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want || s.String() != text {
			t.Errorf("%s: got %d, %s, %v", text, s, s, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "1 MiB", "64kb", "64K", "010", "9223372036854775808", "8589934592GiB"} {
		var s configs.Size
		if err := s.UnmarshalText([]byte(text)); err == nil || s != 0 {
			t.Errorf("%q is taken for %d", text, s)
		}
	}
}

func TestPINSource_PrintsItsReference(t *testing.T) {
	for _, text := range []string{"file:/etc/edge.pin", "file:a:b", "credential:edge", "env:EDGE_PIN", "env:_1", "none"} {
		var s configs.PINSource
		if err := s.UnmarshalText([]byte(text)); err != nil || s.String() != text {
			t.Errorf("%s: got %s, %v", text, s, err)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("", "pin", s)
		if want := "pin=" + text; !strings.Contains(log.String(), want) {
			t.Errorf("log %q lacks %s", &log, want)
		}
	}
	for _, text := range []string{"", "file", "file:", "file: ", "credential:", "credential:../x", "credential:.x", "env:", "env:$PIN", "env:1234", "env:edge_pin", "env:EDGE-PIN", "env:SALLYPORT_PIN", "none:", "none:x", "None", "1234", "File:/x"} {
		var s configs.PINSource
		if err := s.UnmarshalText([]byte(text)); err == nil || !s.IsZero() {
			t.Errorf("%q is taken for %v", text, s)
		}
	}
	if got := (configs.PINSource{}).String(); got != "" {
		t.Errorf("the zero value prints as %q", got)
	}
}
