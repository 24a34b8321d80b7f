package hsmtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// makeCA makes the test CA, as ca.pem and ca.key in Dir, as scripts/softhsm-init.sh does.
func (k *Token) makeCA() {
	k.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		k.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          serialNumber(k.t),
		Subject:               pkix.Name{Organization: []string{"Sallyport test"}, CommonName: "Sallyport test CA"},
		NotBefore:             time.Now().Truncate(time.Second),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		k.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		k.t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		k.t.Fatal(err)
	}
	k.WriteCertificate("ca", "ca", ca)
	k.write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	k.write("ca.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// makePair makes a key pair in the token and its certificate, as
// scripts/softhsm-init.sh does.
func (k *Token) makePair(label, id, keyType string) {
	k.t.Helper()
	k.GenerateKey(label, id, keyType)
	c := k.Issue(k.Public(label, id), func(c *x509.Certificate) {
		c.Subject = pkix.Name{Organization: []string{"Sallyport test"}, CommonName: label + ".sallyport.test"}
		c.DNSNames = []string{label + ".sallyport.test", "www.sallyport.test", "*.www.sallyport.test", "localhost"}
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.NotAfter = time.Now().AddDate(1, 0, 0)
	})
	k.WriteCertificate(label, id, c)
	k.WriteChain(label+".pem", c)
}

func serialNumber(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// write writes a file in Dir that only its owner can read.
func (k *Token) write(name string, content []byte) {
	k.t.Helper()
	if err := os.WriteFile(filepath.Join(k.Dir, name), content, 0o600); err != nil {
		k.t.Fatal(err)
	}
}
