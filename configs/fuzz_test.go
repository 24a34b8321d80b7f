package configs_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport/configs"
)

// FuzzParse parses a whole file that the fuzzer makes up, and the valid
// configuration with a PIN in three places where none belongs, between what the
// fuzzer puts around it. Nothing may panic, an error must be *Problems and must
// not show the PIN, and what is no error must be usable.
//
// Minimizing takes longer than finding here:
//
//	go test -run '^$' -fuzz FuzzParse -fuzztime 1m -fuzzminimizetime 20x ./configs
func FuzzParse(f *testing.F) {
	for _, file := range []string{"sallyport.yaml", "reference.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "file:", "")
	}
	f.Add(valid, "*", "")
	f.Add(valid, "file:/", "")
	f.Add("a: &a [*a]\n---\n? {}\n", `"\`, `": {`)

	f.Fuzz(func(t *testing.T, text, before, after string) {
		check(t, text)
		if strings.ContainsAny(before+after, "\n\r\u0085\u2028\u2029") {
			return // in a line of its own it is not in the PIN's place
		}
		for _, place := range []string{"file:edge.pin", "www?pin-value=", "www?pin-source="} {
			written := before + testPIN + after
			lead, tail, _ := strings.Cut(valid, place)
			if place != "file:edge.pin" {
				lead, tail, _ = strings.Cut(valid, "www\n    routes")
				written = place + written + "\n    routes"
			}
			if err := check(t, lead+written+tail); err != nil && strings.Contains(err.Error(), testPIN) {
				t.Errorf("%q: the PIN shows in %v", written, err)
			}
		}
	})
}

// check parses a text, and tests what holds for each outcome.
func check(t *testing.T, text string) error {
	t.Helper()
	config, err := parse(t, text)
	if err != nil {
		problems, ok := errors.AsType[*configs.Problems](err)
		if !ok || len(problems.List) == 0 || config != nil {
			t.Errorf("%q: config %v with error %v", text, config, err)
			return err
		}
		if lines := strings.Count(err.Error(), "\n") + 1; lines != len(problems.List) {
			t.Errorf("%q: %d problems in %d lines", text, len(problems.List), lines)
		}
		return err
	}
	for _, token := range config.HSM.Tokens {
		if token.PIN.IsZero() || token.SignTimeout <= 0 || token.Sessions <= 0 {
			t.Errorf("%q: token %+v", text, token)
		}
		if strings.Contains(token.Module, "/") && !filepath.IsAbs(token.Module) {
			t.Errorf("%q: module %q", text, token.Module)
		}
	}
	for _, site := range config.Sites {
		if len(site.Hosts) == 0 || len(site.Certificates) == 0 || len(site.Routes) == 0 {
			t.Errorf("%q: site %+v", text, site)
		}
		for _, route := range site.Routes {
			if !slices.ContainsFunc(config.Pools, func(p configs.Pool) bool { return p.Name == route.Pool }) {
				t.Errorf("%q: no pool %q", text, route.Pool)
			}
		}
	}
	return nil
}
