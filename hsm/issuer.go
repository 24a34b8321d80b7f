package hsm

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// gap says which certificate seems to be missing behind the last one of a chain,
// or returns nil. A chain without its intermediate works with the clients that
// have seen it elsewhere, browsers mostly, and with no others, so whoever tries it
// out finds nothing wrong.
//
// Whether an issuer is a root that clients have cannot be known here. It is taken
// for one where this machine trusts it, or where its certificate is on a token as
// a root. The leaf alone is suspicious without either; of a longer chain it is
// supposed that whoever put it together went as far as the root, unless a token
// holds the certificate that is missing.
func (r *Keyring) gap(c Chain, now time.Time) error {
	last := c[len(c)-1]
	if bytes.Equal(last.RawSubject, last.RawIssuer) {
		return nil
	}
	for _, t := range r.tokens {
		for _, issuer := range t.heldCertificates().all {
			if !bytes.Equal(issuer.RawSubject, last.RawIssuer) || last.CheckSignatureFrom(issuer) != nil {
				continue
			}
			if bytes.Equal(issuer.RawSubject, issuer.RawIssuer) {
				return nil
			}
			return problem(ErrUnfit, "append that certificate to the chain file, or leave out chain: and have the whole of it read from the token",
				"the chain lacks the certificate of its issuer (%s), which token %q holds: clients that do not know it refuse the connection", issuer.Subject, t.Name())
		}
	}
	if len(c) > 1 || trusted(last, now) {
		return nil
	}
	return problem(ErrUnfit, "append the intermediate certificates, as the authority delivers them, to the chain file (or write them to the token, where the chain is read from there); "+
		"where the issuer is your own root, install it among this machine's trusted roots, or put it at the end of the chain, and this warning ends",
		"the certificate is sent alone, without that of its issuer (%s), which is no root that this machine trusts: clients that do not know it refuse the connection", last.Issuer)
}

// trusted reports whether a root of this machine has issued c.
func trusted(c *x509.Certificate, now time.Time) bool {
	if now.After(c.NotAfter) {
		now = c.NotAfter
	}
	_, err := c.Verify(x509.VerifyOptions{CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// equal reports whether two chains are the same certificates.
func (c Chain) equal(other Chain) bool { return slices.EqualFunc(c, other, (*x509.Certificate).Equal) }

// describe names the certificates behind the leaf.
func (c Chain) describe() string {
	if len(c) == 1 {
		return "the certificate alone"
	}
	var issuers []string
	for _, i := range c[1:] {
		issuers = append(issuers, i.Subject.String())
	}
	return fmt.Sprintf("%d certificates, with %q", len(c), issuers)
}
