package main

import (
	"context"
	"strings"
	"testing"
	"time"
)

// startFar is a sample server, and the bench that uploads to it.
func startFar(t *testing.T) (*bench, *instance) {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	if err := b.writeUploads(); err != nil {
		t.Fatal(err)
	}
	return b, startSample(t, deviation{})
}

// What is asked over a line cannot take less than the round trips that it needs.
func TestDistance_TakesItsRoundTrips(t *testing.T) {
	b, i := startFar(t)
	for name, c := range map[string]struct {
		run  func(context.Context, *bench, *instance) (values, error)
		want time.Duration
	}{
		"page":                 {distant(1, page), 2*lineDelay + slowTime},
		"first byte":           {distant(1, firstByte(false)), 4 * lineDelay},
		"first byte, resumed":  {distant(1, firstByte(true)), 4 * lineDelay},
		"download by HTTP/1.1": {distant(1, transfer("1.1", false)), 2 * lineDelay},
		"download by HTTP/2":   {distant(1, transfer("2", false)), 2 * lineDelay},
		"upload by HTTP/1.1":   {distant(1, transfer("1.1", true)), 2 * lineDelay},
		"upload by HTTP/2":     {distant(1, transfer("2", true)), 2 * lineDelay},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := c.run(t.Context(), b, i)
			if err != nil {
				t.Fatal(err)
			}
			if got := v["time"]; got < inMilliseconds(c.want) {
				t.Errorf("it took %v ms, less than %v", got, c.want)
			}
		})
	}
}

// A body that is not whole has no time.
func TestDistance_RefusesAShortBody(t *testing.T) {
	b, _ := startFar(t)
	i := startSample(t, deviation{cut: 1})
	_, err := transfer("1.1", false)(t.Context(), b, i)
	wantError(t, err, "curl says")
}

func TestCurlTime(t *testing.T) {
	if d, err := curlTime("2 30 0.25 1.5", "2", 30); err != nil || d != 1250*time.Millisecond {
		t.Errorf("got %v, %v", d, err)
	}
	for _, line := range []string{"", "1.1 30 0.25 1.5", "2 29 0.25 1.5", "2 30 x 1.5", "2 30 0.25 x"} {
		if _, err := curlTime(line, "2", 30); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

func TestBurst(t *testing.T) {
	i := startSample(t, deviation{})
	v, err := burst(20)(t.Context(), nil, i)
	if err != nil {
		t.Fatal(err)
	}
	if v["refused"] != 0 || v["half"] <= 0 || v["time"] < v["half"] {
		t.Errorf("got %v", v)
	}
}

// Where some are refused there are no times, only how many.
func TestBurst_CountsWhoIsRefused(t *testing.T) {
	i := startSample(t, deviation{hello: "something else"})
	v, err := burst(20)(t.Context(), nil, i)
	if err != nil {
		t.Fatal(err)
	}
	if len(v) != 1 || v["refused"] != 20 {
		t.Errorf("got %v", v)
	}
	s := sample{Values: v}
	if line := s.line(workload{Measures: bursts}); strings.Contains(line, "until") || !strings.HasPrefix(line, "20") {
		t.Errorf("it reads %q", line)
	}
}
