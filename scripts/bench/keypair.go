package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// pair is a key with its certificate: on the token under its label, and in
// files for the servers that cannot use a token.
type pair struct {
	Label, ID   string
	Host        string
	Default     bool   // also for clients that name no host
	Chain       string // PEM files: the certificates,
	Key         string // the key in PKCS#8,
	Bundle      string // and both in one
	Certificate *x509.Certificate
}

// authority issues the certificates; it is forgotten after that.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// makePairs writes all pairs' files into dir.
func makePairs(dir string) ([]pair, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	pairs := []pair{
		{Label: "ec", ID: "01", Host: "ec.bench.test", Default: true},
		{Label: "rsa", ID: "02", Host: "rsa.bench.test"},
	}
	for i, key := range []crypto.Signer{ec, r} {
		if err := pairs[i].write(dir, ca, key); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Sallyport bench CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(0, 3, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, key}, err
}

func (p *pair) write(dir string, ca *authority, key crypto.Signer) error {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: p.Host},
		DNSNames:     []string{p.Host},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(0, 3, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if p.Default {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		return err
	}
	if p.Certificate, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	chain := append(block("CERTIFICATE", der), block("CERTIFICATE", ca.certificate.Raw)...)
	private := block("PRIVATE KEY", secret)
	p.Chain = filepath.Join(dir, p.Label+".crt")
	p.Key = filepath.Join(dir, p.Label+".key")
	p.Bundle = filepath.Join(dir, p.Label+".pem")
	for path, content := range map[string][]byte{p.Chain: chain, p.Key: private, p.Bundle: append(chain, private...)} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
