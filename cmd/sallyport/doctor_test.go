package main

import (
	"strings"
	"testing"

	"sallyport/hsm"
	"sallyport/hsm/wire"
)

// curveOf is a curve with these rates at 1, 2, 4 … at once.
func curveOf(keyType string, processes int, rates ...float64) curve {
	c := curve{Type: keyType, Processes: processes}
	for i, r := range rates {
		c.Steps = append(c.Steps, step{Level: levelOK, AtOnce: processes << i, Rate: r})
	}
	return c
}

func TestAdvice(t *testing.T) {
	failing := curveOf("P-256", 1, 100, 200, 400)
	failing.Steps[2].Error = "it fails"
	for name, c := range map[string]struct {
		curves    []curve
		limit     int
		sessions  int
		processes int
		why       string
	}{
		"the knee": {
			curves:   []curve{curveOf("P-256", 1, 100, 200, 400, 410), curveOf("P-256", 2, 400)},
			sessions: 4, processes: 2, why: "the fewest for 95 % of the best rate, 400 of 410",
		},
		"still growing": {
			curves:   []curve{curveOf("P-256", 1, 100, 200, 400, 800), curveOf("P-256", 2, 800)},
			sessions: 8, processes: 2, why: "--sessions 16",
		},
		"one call after the other": {
			curves:   []curve{curveOf("P-256", 1, 100, 100, 99, 101), curveOf("P-256", 2, 200)},
			sessions: 1, processes: 2, why: "2 processes make 200 signatures per second where one makes 101",
		},
		"the type that needs more": {
			curves:   []curve{curveOf("P-256", 1, 100, 200, 200, 200), curveOf("P-384", 1, 100, 200, 400, 400), curveOf("P-256", 2, 200)},
			sessions: 4, processes: 2, why: "adds no speed",
		},
		"RSA beside ECDSA": {
			curves:   []curve{curveOf("P-256", 1, 100, 100, 100, 100), curveOf("RSA-2048", 1, 10, 20, 40, 40), curveOf("P-256", 2, 100)},
			sessions: 5, processes: 2, why: "RSA leaves an eighth",
		},
		"failures are not counted": {
			curves:   []curve{failing, curveOf("P-256", 2, 200)},
			sessions: 2, processes: 2, why: "200 signatures per second (P-256), the best of all",
		},
		"no second process": {
			curves:   []curve{curveOf("P-256", 1, 100, 200, 200, 200)},
			sessions: 2, processes: 1, why: "does not work",
		},
		"the token's own limit": {
			curves: []curve{curveOf("P-256", 1, 100, 200, 400, 800), curveOf("P-256", 2, 800)},
			limit:  10, sessions: 3, processes: 2, why: "the token allows 10",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := doctorReport{Curves: c.curves, Examination: &wire.Examination{Limits: wire.Limits{Most: c.limit}}}
			p := loadPlan{sessions: 8, processes: 2}
			for _, curve := range c.curves {
				if curve.Processes == 1 {
					p.keys = append(p.keys, hsm.Ability{Info: wire.Key{Type: curve.Type}})
				}
			}
			a := r.advise(p)
			if a.Sessions != c.sessions || a.Processes != c.processes {
				t.Errorf("sessions %d, processes %d; want %d, %d", a.Sessions, a.Processes, c.sessions, c.processes)
			}
			if why := a.SessionsWhy + "\n" + a.ProcessesWhy; !strings.Contains(why, c.why) {
				t.Errorf("%s\nwant %q", why, c.why)
			}
		})
	}
}

// stepOf is a measurement of so many signatures, some of them slow.
func stepOf(signatures, slow int, p50, slowest float64) step {
	return step{Level: levelOK, Signatures: signatures, Slow: slow, P50: p50, P99: slowest, Slowest: slowest}
}

func TestDoctorReport_JudgesTheTail(t *testing.T) {
	for name, c := range map[string]struct {
		steps []step
		level level // "": nothing is said
	}{
		"none is slow":                {[]step{stepOf(1000, 0, 5, 90), stepOf(2000, 0, 5, 900)}, ""},
		"1 in 20 takes 2 s":           {[]step{stepOf(20, 1, 5, 2005), stepOf(40, 2, 5, 2005), stepOf(300, 16, 6, 2010)}, levelFail},
		"few are slow":                {[]step{stepOf(1000, 1, 5, 1200), stepOf(2000, 1, 5, 2000)}, levelWarn},
		"this machine stood still":    {[]step{stepOf(10, 0, 5, 10), stepOf(20, 16, 5, 3000), stepOf(1000, 0, 5, 90)}, ""},
		"each waits for the others":   {[]step{stepOf(20, 0, 100, 120), stepOf(20, 10, 800, 1500), stepOf(20, 20, 1600, 3000)}, ""},
		"what failed is not measured": {[]step{stepOf(20, 1, 5, 2005), {Error: "it fails", Slow: 5, Signatures: 5}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newDoctorReport("edge")
			r.Curves = []curve{{Type: "P-256", Processes: 1, Steps: c.steps}, {Type: "RSA-2048", Processes: 1, Steps: []step{stepOf(1, 1, 1, 2000)}}}
			r.judgeTails(loadPlan{keys: []hsm.Ability{{Info: wire.Key{Type: "P-256"}}, {Info: wire.Key{Type: "RSA-2048"}}}})
			var got level
			if len(r.Findings) > 0 {
				got = r.Findings[0].Level
			}
			if len(r.Findings) > 1 || got != c.level {
				t.Errorf("found %+v, want %q", r.Findings, c.level)
			}
		})
	}
}

func TestDoubling_EndsWithTheMost(t *testing.T) {
	for most, want := range map[int]int{1: 1, 2: 2, 3: 3, 16: 5, 20: 6} {
		if got := doubling(most); len(got) != want || got[len(got)-1] != most {
			t.Errorf("up to %d: %v", most, got)
		}
	}
}

func TestBesideECDSA(t *testing.T) {
	for n, want := range map[int]int{1: 2, 2: 3, 7: 8, 14: 15, 16: 18} {
		if got := besideECDSA(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

// What a library says of itself reaches a terminal as text.
func TestDoctorReport_PrintsNoControlCodes(t *testing.T) {
	r := newDoctorReport("edge")
	r.add("token", "library", levelOK, "%s", "\x1b[2J\x9b31mevil\u202e")
	r.conclude(false)
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u009b\u202e") {
		t.Errorf("%q", out.String())
	}
	if !strings.HasSuffix(out.String(), "verdict: fit\n") {
		t.Errorf("%q", out.String())
	}
}
