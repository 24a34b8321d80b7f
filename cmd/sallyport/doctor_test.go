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
