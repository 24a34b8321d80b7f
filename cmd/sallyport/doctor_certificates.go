package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/wire"
)

// tryCertificates proves what sites serve from the token as the service will,
// and looks at the expiry of what else lies there. A site whose keys have all
// failed is passed over.
func (d *doctorVisit) tryCertificates(ctx context.Context, token *hsm.Token, served servedKeys, able []hsm.Ability) {
	now := time.Now()
	keyring := hsm.NewKeyring([]*hsm.Token{token}, time.Hour, slog.New(slog.DiscardHandler))
	var shown []*x509.Certificate
	for _, s := range served {
		if s.hasOnlyFailed(token.Inventory().Keys, able) {
			continue
		}
		certificates, problems := keyring.Add(ctx, s.site, []hsm.Entry{s.entry}, now)
		if ctx.Err() != nil {
			return
		}
		for _, p := range problems {
			if !s.named && errors.Is(p, hsm.ErrNoKey) {
				continue // it may be on another token
			}
			d.report.fail("certificate", "site "+s.site, hint(fmt.Errorf("%s: %w", strings.TrimSuffix(s.path+"."+p.Part, "."), p.Err), hintOf(p.Err)))
		}
		if certificates == nil {
			continue
		}
		for _, p := range certificates.Pairs()[0] {
			d.report.expiry("site "+s.site, p.Leaf(), now)
			if ends := p.Chain.Ends(); ends != p.Leaf() && ends.NotAfter.Sub(now) < hsm.ExpiresSoon {
				d.report.expiry("site "+s.site, ends, now)
			}
			if gap := p.Gap(); gap != nil {
				d.report.add("certificate", "site "+s.site, levelWarn, "%s", gap)
				d.report.hint(hintOf(gap))
			}
			shown = append(shown, p.Leaf())
		}
	}
	d.others(token, shown, now)
}

// hasOnlyFailed says whether keys were found for the site, and none of them can
// sign: that has been said.
func (s servedKey) hasOnlyFailed(keys []wire.Key, able []hsm.Ability) bool {
	return slices.ContainsFunc(keys, s.entry.Key.MatchesKey) &&
		!slices.ContainsFunc(able, func(a hsm.Ability) bool { return s.entry.Key.MatchesKey(a.Info) })
}

// others looks at certificates for the token's keys that no site serves.
func (d *doctorVisit) others(token *hsm.Token, shown []*x509.Certificate, now time.Time) {
	inv := token.Inventory()
	for _, c := range inv.Certificates {
		cert, err := x509.ParseCertificate(c.DER)
		if err != nil {
			d.report.add("certificate", fmt.Sprintf("%q", c.Label), levelWarn, "cannot be read: %v", err)
			continue
		}
		ours := slices.ContainsFunc(inv.Keys, func(k wire.Key) bool { return bytes.Equal(k.Public, cert.RawSubjectPublicKeyInfo) })
		if ours && !slices.ContainsFunc(shown, cert.Equal) {
			d.report.expiry(fmt.Sprintf("%q", c.Label), cert, now)
		}
	}
}

// expiry judges how long a certificate is still good.
func (r *doctorReport) expiry(subject string, c *x509.Certificate, now time.Time) {
	text := fmt.Sprintf("%s until %s", c.Subject, c.NotAfter.UTC().Format(time.DateOnly))
	switch left := c.NotAfter.Sub(now); {
	case left < 0:
		r.add("certificate", subject, levelWarn, "%s: it has expired, and clients refuse it", text)
	case now.Before(c.NotBefore):
		r.add("certificate", subject, levelWarn, "%s: it is not valid before %s", text, c.NotBefore.UTC().Format(time.DateOnly))
	case left < hsm.ExpiresSoon:
		r.add("certificate", subject, levelWarn, "%s: it expires in %s, and clients refuse it from then on", text, remaining(left))
	default:
		r.add("certificate", subject, levelOK, "%s, %s from now", text, count(int(left.Hours()/24), "day", "days"))
	}
}
