package hsm

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"sallyport/hsm/wire"
)

// Chain is what is sent in the handshake: the leaf, then each certificate that
// issued the one before it (RFC 8446 §4.4.2). The root need not be there.
type Chain []*x509.Certificate

const (
	maxChainFile = 256 << 10
	maxChain     = 10
)

// ReadChain reads a chain from a PEM file, all of which it accounts for
// (chainfile.go). A file that holds a private key is refused: it has no place on
// this machine.
func ReadChain(path string) (Chain, error) {
	// Without O_NONBLOCK a FIFO in the file's place would block for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxChainFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxChainFile {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, maxChainFile>>10)
	}
	c, err := parseChain(path, b)
	if err != nil {
		return nil, err
	}
	return c, c.check()
}

// Ends returns the certificate that ends first, which ends the chain.
func (c Chain) Ends() *x509.Certificate {
	return slices.MinFunc(c, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}

// check holds the chain to its order.
func (c Chain) check() error {
	if len(c) > maxChain {
		return fmt.Errorf("the chain has %d certificates; %d are enough for anyone", len(c), maxChain)
	}
	for i := 1; i < len(c); i++ {
		if err := c[i-1].CheckSignatureFrom(c[i]); err != nil {
			return problem(ErrUnfit, "the order is: the site's own certificate, then the one that issued it, and so on",
				"certificate %d of the chain (%s) did not issue certificate %d (%s)", i+1, c[i].Subject, i, c[i-1].Subject)
		}
	}
	return nil
}

// ChainFromToken builds the key's chain from the certificates on its tokens: of
// those for the key, the newest that is valid at now, then its issuers as far
// as the tokens have them, without a root.
func (k *Key) ChainFromToken(now time.Time) (Chain, error) {
	var leaf *x509.Certificate
	var all []*x509.Certificate
	for _, h := range k.holders {
		here := h.token.heldCertificates()
		all = append(all, here.all...)
		for _, c := range here.byKey[k.id] {
			if leaf == nil || newer(c, leaf, now) {
				leaf = c
			}
		}
	}
	if leaf == nil {
		return nil, problem(ErrUnfit, "write it there with the vendor's tool, or name a PEM file under chain:",
			"token %q holds no certificate for key %q", k.holders[0].token.Name(), k.uri)
	}
	c := Chain{leaf}
	for len(c) < maxChain {
		issuer := issuerOf(c[len(c)-1], all)
		if issuer == nil || slices.ContainsFunc(c, issuer.Equal) {
			break // cross-signed authorities would go round in circles
		}
		c = append(c, issuer)
	}
	return c, nil
}

// owns says whether a certificate is for this very key.
func (k *Key) owns(c *x509.Certificate) bool { return wire.KeyIDOf(c.RawSubjectPublicKeyInfo) == k.id }

// newer prefers a certificate that could be served at now, then the later one.
func newer(a, b *x509.Certificate, now time.Time) bool {
	good := func(c *x509.Certificate) bool { return validity(c, now) == nil && serverUse(c) == nil }
	if ga, gb := good(a), good(b); ga != gb {
		return ga
	}
	if c := a.NotBefore.Compare(b.NotBefore); c != 0 {
		return c > 0
	}
	return bytes.Compare(a.Raw, b.Raw) > 0 // any order, but always the same
}

func issuerOf(c *x509.Certificate, all []*x509.Certificate) *x509.Certificate {
	for _, i := range all {
		root := bytes.Equal(i.RawSubject, i.RawIssuer)
		if !root && bytes.Equal(c.RawIssuer, i.RawSubject) && c.CheckSignatureFrom(i) == nil {
			return i
		}
	}
	return nil
}

// validity says why c is not valid at now.
func validity(c *x509.Certificate, now time.Time) error {
	const day = "2006-01-02 15:04 MST"
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("it expired on %s", c.NotAfter.UTC().Format(day))
	case now.Before(c.NotBefore):
		return fmt.Errorf("it is not valid before %s", c.NotBefore.UTC().Format(day))
	}
	return nil
}

// serverUse says why a certificate cannot be a TLS server's.
func serverUse(c *x509.Certificate) error {
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return errors.New("its key usage lacks digitalSignature")
	}
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return nil
	}
	for _, u := range c.ExtKeyUsage {
		if u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny {
			return nil
		}
	}
	return errors.New("its extended key usage lacks serverAuth")
}
