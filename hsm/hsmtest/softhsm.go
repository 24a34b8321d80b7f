package hsmtest

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// NewSoftHSM makes a token of SoftHSM's, by scripts/softhsm-init.sh.
func NewSoftHSM(t testing.TB) *Token {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(here), "..", "..", "scripts", "softhsm-init.sh")
	k := &Token{Dir: t.TempDir(), t: t}
	k.run(script, k.Dir)
	module, err := SoftHSMLibrary()
	if err != nil {
		t.Fatal(err)
	}
	k.Module = module
	k.PINFile = filepath.Join(k.Dir, "edge.pin")
	pin, err := os.ReadFile(k.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	k.PIN = strings.TrimSpace(string(pin))
	k.Environment = map[string]string{
		"SOFTHSM2_CONF": filepath.Join(k.Dir, "softhsm2.conf"),
		// A signer process built with the race detector would wait a second at its end.
		"GORACE": "atexit_sleep_ms=0",
	}
	return k
}

// SoftHSMLibrary finds the library on this machine, for programs that are no test
// too.
func SoftHSMLibrary() (string, error) {
	return findLibrary("softhsm2", "softhsm/libsofthsm2.so", "libsofthsm2.so")
}
