package hsm_test

import (
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// Clients that have the intermediate from elsewhere accept a chain without it, so
// nobody but the others finds out.
func TestKeyring_WarnsOfAMissingIntermediate(t *testing.T) {
	s := hsmtest.New(t)
	root := issue(t, "root", nil)
	one := issue(t, "intermediate one", &root)
	two := issue(t, "intermediate two", &one)
	public := s.Public("ec", "02")
	leaf := issueFor(t, "ec.sallyport.test", public, nil, &two)
	byRoot := issueFor(t, "ec.sallyport.test", public, nil, &root)
	ca, _ := s.CA()
	s.WriteCertificate("one", "31", one.cert)
	token := up(t, configOf(s))
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		want  string // in the warning; "": none
	}{
		"the leaf alone":                        {[]*x509.Certificate{leaf}, "without that of its issuer (CN=intermediate two)"},
		"the last one is on the token":          {[]*x509.Certificate{leaf, two.cert}, `lacks the certificate of its issuer (CN=intermediate one), which token "edge" holds`},
		"all but the root":                      {[]*x509.Certificate{leaf, two.cert, one.cert}, ""},
		"with the root":                         {[]*x509.Certificate{byRoot, root.cert}, ""},
		"by a root that nobody knows of":        {[]*x509.Certificate{byRoot}, "which is no root that this machine trusts"},
		"by a root that is on the token":        {[]*x509.Certificate{s.Issue(public, nil)}, ""},
		"by a root on the token, and it":        {[]*x509.Certificate{s.Issue(public, nil), ca}, ""},
		"the leaf alone, which is its own root": {[]*x509.Certificate{root.cert}, "does not belong"},
	} {
		t.Run(name, func(t *testing.T) {
			logs := new(logBuffer)
			r := hsm.NewKeyring([]*hsm.Token{token}, time.Hour, slog.New(slog.NewTextHandler(logs, nil)))
			site, problems := r.Add(t.Context(), "www", []hsm.Entry{{Key: uri(t, "pkcs11:object=ec"), Chain: s.WriteChain("gap.pem", c.chain...)}}, time.Now())
			if len(problems) > 0 {
				if !strings.Contains(problems[0].Error(), c.want) || c.want == "" {
					t.Errorf("got %v", problems[0])
				}
				return
			}
			gap := site.Pairs()[0][0].Gap()
			if (gap == nil) != (c.want == "") || gap != nil && !strings.Contains(gap.Error(), c.want) {
				t.Errorf("got %v, want %q", gap, c.want)
			}
			if told := strings.Contains(logs.String(), "level=WARN msg=\"chain seems to lack a certificate\" site=www"); told != (c.want != "") {
				t.Errorf("the log:\n%s", logs)
			}
		})
	}
}

// The leaf stays the same when its authority has a new intermediate, and what is
// sent does not.
func TestKeyring_TellsOfAnotherChain(t *testing.T) {
	s := hsmtest.New(t)
	root := issue(t, "root", nil)
	intermediate := issue(t, "intermediate", &root)
	again := issueFor(t, "intermediate", intermediate.key.Public(), nil, &root)
	leaf := issueFor(t, "ec.sallyport.test", s.Public("ec", "02"), nil, &intermediate)
	file := s.WriteChain("site.pem", leaf)
	r, c, logs := keep(t, up(t, configOf(s)), time.Now(), hsm.Entry{Key: uri(t, "pkcs11:object=ec"), Chain: file})
	rescan(t, r)
	warned := func() int { return strings.Count(logs.String(), "chain seems to lack a certificate") }
	if n := warned(); n != 1 {
		t.Errorf("the leaf alone: warned %d times", n)
	}
	for _, step := range []struct {
		name  string
		chain []*x509.Certificate
	}{
		{"intermediate", []*x509.Certificate{leaf, intermediate.cert}},
		{"its successor", []*x509.Certificate{leaf, again}},
		{"with the root", []*x509.Certificate{leaf, again, root.cert}},
		{"alone again", []*x509.Certificate{leaf}},
	} {
		name, chain := step.name, step.chain
		before := warned()
		s.WriteChain("site.pem", chain...)
		got := rescan(t, r)
		if !slices.Equal(whats(got), []hsm.What{hsm.NewChain}) {
			t.Fatalf("%s: %v", name, got.Changes)
		}
		text := got.Changes[0].String()
		if alone := len(chain) == 1; alone != strings.Contains(text, "the certificate alone; warning: ") || alone != (warned() > before) {
			t.Errorf("%s: %q, warned %d times", name, text, warned()-before)
		}
		if sent := certificateFor(t, c).Certificate; len(sent) != len(chain) {
			t.Errorf("%s: %d certificates are sent", name, len(sent))
		}
		if got := rescan(t, r); len(got.Changes) > 0 {
			t.Errorf("%s is told twice: %v", name, got.Changes)
		}
	}
}
