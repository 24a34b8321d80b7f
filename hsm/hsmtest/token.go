package hsmtest

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Token is a token with the label "edge", the key pairs "rsa" (RSA-2048, id 01)
// and "ec" (P-256, id 02), and a certificate for each by a test CA, in the token
// and as rsa.pem and ec.pem in Dir.
type Token struct {
	Dir         string            // holds all of it; gone after the test
	Module      string            // the PKCS#11 library
	PINFile     string            // for pin: file:…
	PIN         string            // what it holds; no log or error may show it
	Environment map[string]string // what the library needs in its environment
	Server      *Server           // that it is reached by; nil where it is not remote
	t           testing.TB
}

// vendors are the values of $HSMTEST_VENDOR.
var vendors = map[string]func(testing.TB) *Token{
	"softhsm": NewSoftHSM,
	"nss":     NewNSS,
	"p11-kit": NewRemote,
}

// New makes a token for one test, of the vendor that $HSMTEST_VENDOR names:
// softhsm, which is the default, nss or p11-kit. A test that is about the traits
// of one vendor makes its token by that one's own function.
func New(t testing.TB) *Token {
	t.Helper()
	name := cmp.Or(os.Getenv("HSMTEST_VENDOR"), "softhsm")
	vendor, ok := vendors[name]
	if !ok {
		t.Fatalf("HSMTEST_VENDOR=%s: it must be one of %q", name, slices.Sorted(maps.Keys(vendors)))
	}
	return vendor(t)
}

func (k *Token) run(name string, args ...string) {
	k.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "TEST_PIN="+k.PIN)
	for k, v := range k.Environment {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		k.t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// Tool runs pkcs11-tool on the token, logged in.
func (k *Token) Tool(args ...string) {
	k.t.Helper()
	k.run("pkcs11-tool", append([]string{"--module", k.Module, "--token-label", "edge", "--login", "--pin", "env:TEST_PIN"}, args...)...)
}

// GenerateKey makes a key pair in the token. Type is what pkcs11-tool calls
// it, such as "EC:prime256v1" or "rsa:2048"; id is hexadecimal.
func (k *Token) GenerateKey(label, id, keyType string) {
	k.t.Helper()
	k.Tool("--keypairgen", "--key-type", keyType, "--label", label, "--id", id, "--usage-sign")
}

// Public reads a public key from the token.
func (k *Token) Public(label, id string) crypto.PublicKey {
	k.t.Helper()
	file := filepath.Join(k.t.TempDir(), "public.der")
	k.Tool("--read-object", "--type", "pubkey", "--label", label, "--id", id, "--output-file", file)
	der, err := os.ReadFile(file)
	if err != nil {
		k.t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		k.t.Fatal(err)
	}
	return public
}

// WriteCertificate puts a certificate on the token.
func (k *Token) WriteCertificate(label, id string, c *x509.Certificate) {
	k.t.Helper()
	file := filepath.Join(k.t.TempDir(), "certificate.der")
	if err := os.WriteFile(file, c.Raw, 0o600); err != nil {
		k.t.Fatal(err)
	}
	k.Tool("--write-object", file, "--type", "cert", "--label", label, "--id", id)
}

// Issue issues a server certificate for a public key by the token's test CA,
// with the subject of the one of "ec": NSS wants one subject for a label.
// Change, which may be nil, may alter the template.
func (k *Token) Issue(public crypto.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
	k.t.Helper()
	ca, key := k.CA()
	template := &x509.Certificate{
		SerialNumber: serialNumber(k.t),
		Subject:      pkix.Name{Organization: []string{"Sallyport test"}, CommonName: "ec.sallyport.test"},
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
		k.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

// CA returns the test CA and its key.
func (k *Token) CA() (*x509.Certificate, *ecdsa.PrivateKey) {
	k.t.Helper()
	block := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(k.Dir, name))
		if err != nil {
			k.t.Fatal(err)
		}
		p, _ := pem.Decode(b)
		if p == nil {
			k.t.Fatalf("%s holds no PEM", name)
		}
		return p.Bytes
	}
	ca, err := x509.ParseCertificate(block("ca.pem"))
	if err != nil {
		k.t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(block("ca.key"))
	if err != nil {
		k.t.Fatal(err)
	}
	return ca, key.(*ecdsa.PrivateKey)
}

// WriteChain writes certificates as a PEM file in Dir and returns its path.
func (k *Token) WriteChain(name string, chain ...*x509.Certificate) string {
	k.t.Helper()
	var b []byte
	for _, c := range chain {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	path := filepath.Join(k.Dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		k.t.Fatal(err)
	}
	return path
}
