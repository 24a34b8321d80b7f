package hsmtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// SoftHSM is a token made by scripts/softhsm-init.sh: label "edge", with the
// key pairs "rsa" (RSA-2048, id 01) and "ec" (P-256, id 02) and their
// certificates, in the token and as rsa.pem and ec.pem in Dir.
type SoftHSM struct {
	Dir         string            // holds all of it; gone after the test
	Module      string            // the PKCS#11 library
	PINFile     string            // for pin: file:…
	PIN         string            // what it holds; no log or error may show it
	Environment map[string]string // what the library needs in its environment
	t           testing.TB
}

// New makes a token for one test.
func New(t testing.TB) *SoftHSM {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(here), "..", "..", "scripts", "softhsm-init.sh")
	s := &SoftHSM{Dir: t.TempDir(), t: t}
	s.run(script, s.Dir)
	s.Module = softHSMLibrary(t)
	s.PINFile = filepath.Join(s.Dir, "edge.pin")
	pin, err := os.ReadFile(s.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	s.PIN = strings.TrimSpace(string(pin))
	s.Environment = map[string]string{"SOFTHSM2_CONF": filepath.Join(s.Dir, "softhsm2.conf")}
	return s
}

func softHSMLibrary(t testing.TB) string {
	t.Helper()
	for _, pattern := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/lib64/libsofthsm2.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatal("SoftHSM is not installed (Debian: apt-get install softhsm2 opensc)")
	return ""
}

func (s *SoftHSM) run(name string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "TEST_PIN="+s.PIN)
	for k, v := range s.Environment {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// Tool runs pkcs11-tool on the token, logged in.
func (s *SoftHSM) Tool(args ...string) {
	s.t.Helper()
	s.run("pkcs11-tool", append([]string{"--module", s.Module, "--token-label", "edge", "--login", "--pin", "env:TEST_PIN"}, args...)...)
}

// GenerateKey makes a key pair in the token. Type is what pkcs11-tool calls
// it, such as "EC:prime256v1" or "rsa:2048"; id is hexadecimal.
func (s *SoftHSM) GenerateKey(label, id, keyType string) {
	s.t.Helper()
	s.Tool("--keypairgen", "--key-type", keyType, "--label", label, "--id", id, "--usage-sign")
}

// Public reads a public key from the token.
func (s *SoftHSM) Public(label, id string) crypto.PublicKey {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "public.der")
	s.Tool("--read-object", "--type", "pubkey", "--label", label, "--id", id, "--output-file", file)
	der, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return public
}

// WriteCertificate puts a certificate on the token.
func (s *SoftHSM) WriteCertificate(label, id string, c *x509.Certificate) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "certificate.der")
	if err := os.WriteFile(file, c.Raw, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.Tool("--write-object", file, "--type", "cert", "--label", label, "--id", id)
}

// Issue issues a server certificate for a public key by the token's test CA.
// Change, which may be nil, may alter the template.
func (s *SoftHSM) Issue(public crypto.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
	s.t.Helper()
	ca, key := s.CA()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "ec.sallyport.test"},
		DNSNames:     []string{"ec.sallyport.test", "rsa.sallyport.test", "localhost"},
		NotBefore:    time.Now().Truncate(time.Second),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, public, key)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// CA returns the test CA and its key.
func (s *SoftHSM) CA() (*x509.Certificate, *ecdsa.PrivateKey) {
	s.t.Helper()
	block := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(s.Dir, name))
		if err != nil {
			s.t.Fatal(err)
		}
		p, _ := pem.Decode(b)
		if p == nil {
			s.t.Fatalf("%s holds no PEM", name)
		}
		return p.Bytes
	}
	ca, err := x509.ParseCertificate(block("ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(block("ca.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return ca, key.(*ecdsa.PrivateKey)
}

// WriteChain writes certificates as a PEM file in Dir and returns its path.
func (s *SoftHSM) WriteChain(name string, chain ...*x509.Certificate) string {
	s.t.Helper()
	var b []byte
	for _, c := range chain {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}
