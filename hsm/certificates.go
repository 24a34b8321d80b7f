package hsm

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// Entry is a certificate as the configuration names it: a key, or several that
// follow one another, and where the chain is.
type Entry struct {
	Key   URI
	Chain string // a PEM file; "": on the token
}

// Certificates are what one site serves. They answer its handshakes with what
// the Keyring found and proved last.
type Certificates struct {
	site    string
	entries []Entry
	doubt   func() // asks the keyring to look again
	metrics siteMetrics
	serving atomic.Pointer[[]served]
	limited atomic.Bool // a pair among them does not sign in TLS 1.3
}

// served is what has become of an Entry.
type served struct {
	pairs    []*Pair       // the first is the one to use, the others its fallbacks
	kept     bool          // they are not what they should be, and there is nothing better
	lost     error         // why none of them can sign, where their keys have left the tokens; nil: they have not
	problems []*EntryError // why others that the entry names are not among them
}

// isECDSA says whether the pair's signature costs a tenth of RSA's.
func (p *Pair) isECDSA() bool { return p.Key.lane == laneECDSA }

// Certificate answers a handshake. Of each entry it takes the first pair that
// the client can use, whose token is not known to be down, whose certificate has
// not expired and whose last signature did not fail; of these ECDSA before RSA,
// and of two alike, on different tokens, the one that is expected to sign sooner.
// Without any such pair it takes the one with the least against it: an expired
// certificate is for the client to judge. Where no pair is live it fails at once
// with the reason.
//
// The certificate's key gives up when the handshake's context ends.
func (c *Certificates) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := time.Now()
	var best *Pair
	var rest *Pair // something is against it
	var down *Pair
	least := 0
	for _, e := range *c.serving.Load() {
		for _, p := range e.pairs {
			if !p.Key.live() {
				down = p
				continue
			}
			against := p.against(hello, now)
			if e.lost != nil {
				against += 8 // it cannot sign
			}
			if against > 0 {
				if rest == nil || against < least {
					rest, least = p, against
				}
				continue
			}
			if best == nil || p.isECDSA() && !best.isECDSA() ||
				p.isECDSA() == best.isECDSA() && p.Key.cost() < best.Key.cost() {
				best = p
			}
			break
		}
	}
	if best == nil {
		best = rest
	}
	if best == nil {
		if down == nil {
			return nil, fmt.Errorf("hsm: site %q has no certificate: %w", c.site, ErrNoKey)
		}
		return nil, fmt.Errorf("hsm: site %q: %w", c.site, down.Key.whyDown())
	}
	certificate := best.certificate
	key := &handshakeKey{pair: best, site: c, ctx: hello.Context()}
	if hello.Conn != nil {
		key.ctx = forClient(key.ctx, hello.Conn)
	}
	certificate.PrivateKey = key
	return &certificate, nil
}

// MaxVersion returns the newest version of TLS in which a pair can be used with
// this client, where that is not TLS 1.3 although the client takes it: TLS 1.2.
// Otherwise it is 0. RSA keys on a token without PSS sign in TLS 1.2 alone.
func (c *Certificates) MaxVersion(hello *tls.ClientHelloInfo) uint16 {
	if !c.limited.Load() || !slices.Contains(hello.SupportedVersions, tls.VersionTLS13) || !slices.Contains(hello.SupportedVersions, tls.VersionTLS12) {
		return 0
	}
	in13, in12 := *hello, *hello
	in13.SupportedVersions, in12.SupportedVersions = []uint16{tls.VersionTLS13}, []uint16{tls.VersionTLS12}
	usable := false
	for _, e := range *c.serving.Load() {
		for _, p := range e.pairs {
			if p.TLS13() && p.Key.live() && in13.SupportsCertificate(&p.certificate) == nil {
				return 0
			}
			usable = usable || in12.SupportsCertificate(&p.certificate) == nil
		}
	}
	if !usable {
		return 0 // nor does the other version help
	}
	return tls.VersionTLS12
}

// serve has handshakes answered with what the keyring has found.
func (c *Certificates) serve(serving []served) {
	limited := false
	for _, e := range serving {
		limited = limited || slices.ContainsFunc(e.pairs, func(p *Pair) bool { return !p.TLS13() })
	}
	c.serving.Store(&serving)
	c.limited.Store(limited)
}

// against weighs what speaks against a pair in a handshake; 0 is nothing. That
// the client cannot use it is the worst, as it ends the handshake for sure. A pair
// whose key is gone comes behind even those.
func (p *Pair) against(hello *tls.ClientHelloInfo, now time.Time) (weight int) {
	if now.After(p.Leaf().NotAfter) {
		weight++
	}
	if p.inDoubt(now) {
		weight += 2
	}
	if hello.SupportsCertificate(&p.certificate) != nil {
		weight += 4
	}
	return weight
}

// hasOther says whether a pair other than p can sign at now.
func (c *Certificates) hasOther(p *Pair, now time.Time) bool {
	for _, e := range *c.serving.Load() {
		for _, o := range e.pairs {
			if o.Key.id != p.Key.id && o.Key.live() && !o.inDoubt(now) {
				return true
			}
		}
	}
	return false
}

// handshakeKey is a pair's key within one handshake.
type handshakeKey struct {
	pair *Pair
	site *Certificates
	ctx  context.Context
}

func (k *handshakeKey) Public() crypto.PublicKey { return k.pair.Key.public }

// Sign leaves a tenth of the time that the handshake has: one whose time is up is
// cut off, and one whose signature failed ends with an alert.
func (k *handshakeKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	ctx := k.ctx
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)*9/10)
		defer cancel()
	}
	signature, err := k.pair.Key.signFor(ctx, digest, opts, func() bool { return k.site.hasOther(k.pair, time.Now()) })
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrLeft) {
		k.pair.doubt(time.Now())
		k.site.doubt()
	}
	return signature, err
}

// Ready returns nil if at least one pair can sign now, and else why not.
func (c *Certificates) Ready() error {
	var errs []error
	for _, e := range *c.serving.Load() {
		if e.lost != nil {
			errs = append(errs, e.lost)
			continue
		}
		for _, p := range e.pairs {
			for _, h := range p.Key.holders {
				if state, _ := h.token.State(); state == Up || state == Degraded {
					return nil
				}
			}
			errs = append(errs, p.Key.whyDown())
		}
	}
	if len(errs) == 0 {
		return problem(ErrNoKey, "", "no certificate")
	}
	return errs[0]
}

// Pairs returns the pairs of each entry, the one in use first.
func (c *Certificates) Pairs() [][]*Pair {
	var all [][]*Pair
	for _, e := range *c.serving.Load() {
		all = append(all, e.pairs)
	}
	return all
}
