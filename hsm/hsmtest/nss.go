package hsmtest

import (
	"crypto/rand"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// NewNSS makes a token of NSS's softoken. That library does not initialise
// without arguments, which Sallyport has no setting for, so it is reached by
// p11-kit's proxy module, whose configuration names them.
func NewNSS(t testing.TB) *Token {
	t.Helper()
	k := &Token{Dir: t.TempDir(), Module: library(t, "p11-kit-modules", "p11-kit-proxy.so"), t: t}
	k.PINFile, k.PIN = filepath.Join(k.Dir, "edge.pin"), randomPIN(t)
	k.write("edge.pin", []byte(k.PIN))
	k.run("certutil", "-N", "-d", "sql:"+k.Dir, "-f", k.PINFile)

	home := filepath.Join(k.Dir, "p11-kit")
	if err := os.MkdirAll(filepath.Join(home, "pkcs11", "modules"), 0o700); err != nil {
		t.Fatal(err)
	}
	k.write("p11-kit/pkcs11/pkcs11.conf", []byte("user-config: only\n"))
	k.write("p11-kit/pkcs11/modules/nss.module", fmt.Appendf(nil,
		"module: %s\ncritical: yes\nx-init-reserved: configdir='sql:%s' dbTokenDescription='edge'\n",
		library(t, "libnss3", "libsoftokn3.so"), k.Dir))
	k.Environment = map[string]string{"XDG_CONFIG_HOME": home}
	if os.Getuid() == 0 {
		k.Environment["LD_PRELOAD"] = k.notRoot()
	}
	k.makeCA()
	k.makePair("rsa", "01", "rsa:2048")
	k.makePair("ec", "02", "EC:prime256v1")
	return k
}

//go:embed nss/getuid.c
var getuidSource embed.FS

// notRoot returns a library for LD_PRELOAD: p11-kit passes over a user's
// configuration in programs that run as root, and the system's is not for a test
// to change.
func (k *Token) notRoot() string {
	k.t.Helper()
	b, err := compileGetuid()
	if err != nil {
		k.t.Fatal(err)
	}
	k.write("getuid.so", b)
	return filepath.Join(k.Dir, "getuid.so")
}

// compileGetuid does so once for all tests.
var compileGetuid = sync.OnceValues(func() ([]byte, error) { return compile(getuidSource, "nss") })

func randomPIN(t testing.TB) string {
	t.Helper()
	b := make([]byte, 8)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}
