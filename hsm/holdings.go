package hsm

import (
	"crypto/x509"

	"sallyport/hsm/wire"
)

// certificates are those of a token that can be parsed. They are parsed when the
// token was read: with many sites, each looks for its own among those of all.
type certificates struct {
	all   []*x509.Certificate
	byKey map[wire.KeyID][]*x509.Certificate
}

func parseCertificates(held []wire.Certificate) certificates {
	c := certificates{byKey: make(map[wire.KeyID][]*x509.Certificate)}
	for _, h := range held {
		if cert, err := x509.ParseCertificate(h.DER); err == nil {
			id := wire.KeyIDOf(cert.RawSubjectPublicKeyInfo)
			c.all = append(c.all, cert)
			c.byKey[id] = append(c.byKey[id], cert)
		}
	}
	return c
}

// heldCertificates are the certificates of the token's inventory.
func (t *Token) heldCertificates() certificates {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.certificates
}
