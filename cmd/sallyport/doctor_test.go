package main

import (
	"crypto/tls"
	"strings"
	"testing"

	"sallyport/configs"
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

// A token without PSS is judged by the keys that are there.
func TestDoctor_JudgesATokenWithoutPSSByItsKeys(t *testing.T) {
	ec := hsm.Ability{Info: wire.Key{Label: "ec", Type: "P-256"}, Key: new(hsm.Key), TLS13: true, Schemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}}
	rsa := hsm.Ability{
		Info: wire.Key{Label: "rsa", Type: "RSA-2048"}, Key: new(hsm.Key),
		Schemes: []tls.SignatureScheme{tls.PKCS1WithSHA256}, Missing: []tls.SignatureScheme{tls.PSSWithSHA256},
	}
	for name, c := range map[string]struct {
		certificates []string
		policy       string
		level        level
		want         string
	}{
		"no site serves it":            {[]string{"pkcs11:object=ec"}, "intermediate", levelWarn, "no site serves it"},
		"beside an ECDSA key":          {[]string{"pkcs11:object=ec", "pkcs11:object=rsa"}, "intermediate", levelOK, "its other keys sign in TLS 1.3"},
		"beside an ECDSA key, modern":  {[]string{"pkcs11:object=ec", "pkcs11:object=rsa"}, "modern", levelOK, "its other keys sign in TLS 1.3"},
		"beside one on another token":  {[]string{"pkcs11:object=rsa", "pkcs11:token=other;object=ec"}, "modern", levelOK, "its other keys sign in TLS 1.3"},
		"the only one":                 {[]string{"pkcs11:object=rsa"}, "intermediate", levelWarn, "in TLS 1.2 alone"},
		"the only one, where all is 3": {[]string{"pkcs11:object=rsa"}, "modern", levelFail, "refused by the listener :443"},
	} {
		t.Run(name, func(t *testing.T) {
			site := configs.Site{Name: "www"}
			var served servedKeys
			for _, key := range c.certificates {
				site.Certificates = append(site.Certificates, configs.Certificate{Key: key})
				uri, err := hsm.ParseURI(key)
				if err != nil {
					t.Fatal(err)
				}
				if uri.Token == nil {
					served = append(served, servedKey{site: "www", entry: hsm.Entry{Key: uri}})
				}
			}
			d := doctorVisit{
				config: &configs.Config{Sites: []configs.Site{site}, Listeners: []configs.Listener{{Address: ":443", Policy: c.policy}}},
				report: newDoctorReport("edge"),
			}
			tried := []hsm.Ability{ec, rsa}
			d.report.key(rsa, served.sites(rsa.Info), d.onlyTLS12(rsa, served, tried))
			if f := d.report.Findings; len(f) != 1 || f[0].Level != c.level || !strings.Contains(f[0].Text, c.want) {
				t.Errorf("found %+v, want %s and %q", f, c.level, c.want)
			}
		})
	}
}

func TestDoctor_JudgesMechanismsByTheKeys(t *testing.T) {
	ec, rsa := wire.Key{Type: "P-256"}, wire.Key{Type: "RSA-2048"}
	for name, c := range map[string]struct {
		keys []wire.Key
		want level
	}{
		"no RSA key":               {[]wire.Key{ec}, levelOK},
		"an RSA key":               {[]wire.Key{ec, rsa}, levelWarn},
		"an RSA key of no service": {[]wire.Key{ec, {Type: "RSA-1024", Reason: "RSA keys need 2048 bits or more"}}, levelOK},
	} {
		r := newDoctorReport("edge")
		if r.mechanism(wire.Mechanism{Name: "CKM_RSA_PKCS_PSS"}, c.keys); r.Findings[0].Level != c.want {
			t.Errorf("%s: %+v", name, r.Findings)
		}
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
