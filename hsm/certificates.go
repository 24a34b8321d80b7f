package hsm

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"slices"
)

// Certificates are the pairs of one site. They answer its handshakes.
type Certificates struct {
	pairs []*Pair // ECDSA before RSA: its signature costs a tenth
}

// NewCertificates returns the certificates of a site from its proved pairs, of
// which there must be one at least.
func NewCertificates(pairs []*Pair) (*Certificates, error) {
	if len(pairs) == 0 {
		return nil, errors.New("hsm: a site needs a certificate")
	}
	sorted := slices.Clone(pairs)
	slices.SortStableFunc(sorted, func(a, b *Pair) int { return cmp.Compare(costOf(a), costOf(b)) })
	return &Certificates{pairs: sorted}, nil
}

func costOf(p *Pair) int {
	if _, ok := p.Key.public.(*ecdsa.PublicKey); ok {
		return 0
	}
	return 1
}

// Pairs returns the pairs in the order in which they are tried.
func (c *Certificates) Pairs() []*Pair { return slices.Clone(c.pairs) }

// Certificate returns the first pair that the client can use and whose token
// is not known to be down, its key bound to the handshake's context. Where no
// pair is both, the client's abilities decide: the handshake then fails with
// the right alert.
func (c *Certificates) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	chosen := c.pairs[0]
	var found, live bool
	for _, p := range c.pairs {
		if hello.SupportsCertificate(&p.certificate) != nil {
			continue
		}
		if !found {
			chosen, found = p, true
		}
		if state, _ := p.Key.token.State(); state == Up || state == Starting {
			chosen, live = p, true
			break
		}
	}
	if found && !live {
		_, err := chosen.Key.token.live(hello.Context())
		if err != nil {
			return nil, err
		}
	}
	bound := chosen.certificate
	bound.PrivateKey = boundKey{chosen.Key, hello.Context()}
	return &bound, nil
}

// Ready returns nil if at least one pair can sign, and else why not.
func (c *Certificates) Ready() error {
	var errs []error
	for _, p := range c.pairs {
		state, reason := p.Key.token.State()
		if state == Up {
			return nil
		}
		if reason == nil {
			reason = problem(ErrDown, "", "token %q is %s", p.Key.token.Name(), state)
		}
		errs = append(errs, reason)
	}
	return errors.Join(errs...)
}
