package configs_test

import (
	"errors"
	"strings"
	"testing"

	"sallyport/configs"
)

// valid is a small configuration, which tests take apart.
const valid = `hsm:
  tokens:
    - name: edge
      module: lib/p11.so
      token: edge label
      pin: file:edge.pin
listeners:
  - address: ":443"
sites:
  - name: www
    hosts: [www.example.org]
    certificates:
      - key: pkcs11:token=edge%20label;object=www
    routes:
      - pool: web
pools:
  - name: web
    backends:
      - address: 10.0.0.1:8080
`

// parse is configs.Parse of a file in /etc/sallyport, without an environment
// unless one is given.
func parse(t testing.TB, text string, environ ...string) (*configs.Config, error) {
	t.Helper()
	return configs.Parse("/etc/sallyport", []byte(text), environ)
}

// mustParse is parse for a configuration that is right.
func mustParse(t testing.TB, text string, environ ...string) *configs.Config {
	t.Helper()
	config, err := parse(t, text, environ...)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return config
}

// problemsOf is parse for a configuration that is wrong.
func problemsOf(t testing.TB, text string, environ ...string) *configs.Problems {
	t.Helper()
	_, err := parse(t, text, environ...)
	problems, ok := errors.AsType[*configs.Problems](err)
	if !ok {
		t.Fatalf("Parse: got error %v, want *Problems", err)
	}
	return problems
}

// with is the valid configuration with one part of it replaced.
func with(t testing.TB, old, new string) string {
	t.Helper()
	if !strings.Contains(valid, old) {
		t.Fatalf("the valid configuration does not hold %q", old)
	}
	return strings.Replace(valid, old, new, 1)
}
