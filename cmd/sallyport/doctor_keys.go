package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport/configs"
	"sallyport/hsm"
	"sallyport/hsm/wire"
	"sallyport/proxy"
)

// mostKeys bounds the keys that are tried beside those that sites serve.
const mostKeys = 64

// tryKeys tries the token's keys, those that sites serve first, and returns
// those that can sign. One that a site serves must.
func (d *doctorVisit) tryKeys(ctx context.Context, token *hsm.Token, served servedKeys) []hsm.Ability {
	keys := slices.Clone(token.Inventory().Keys)
	slices.SortStableFunc(keys, func(a, b wire.Key) int {
		return cmp.Compare(min(1, len(served.sites(b))), min(1, len(served.sites(a))))
	})
	var able []hsm.Ability
	var tried []hsm.Ability
	others := 0
	for _, info := range keys {
		if len(served.sites(info)) == 0 {
			if others++; others > mostKeys {
				continue
			}
		}
		a := d.tryKey(ctx, token, info, served)
		if ctx.Err() != nil {
			break
		}
		if tried = append(tried, a); a.Key != nil {
			able = append(able, a)
		}
	}
	for _, a := range tried {
		d.report.key(a, served.sites(a.Info), d.onlyTLS12(a, served, tried))
	}
	if ctx.Err() != nil {
		return able
	}
	if others > mostKeys {
		d.report.add("key", "others", levelOK, "%d more are not tried", others-mostKeys)
	}
	if len(able) == 0 && !d.report.fails() {
		d.report.fail("key", "none", hint(errors.New("no key of the token can sign"), "`sallyport token list` shows what it holds"))
	}
	return able
}

// tryKey tries a key. One whose public half is not on the token is completed by the
// certificates that sites name for it, or that the token holds.
func (d *doctorVisit) tryKey(ctx context.Context, token *hsm.Token, info wire.Key, served servedKeys) hsm.Ability {
	var certificates []*x509.Certificate
	for _, s := range served {
		if !info.Bare || s.entry.Chain == "" || !s.entry.Key.MatchesKey(info) {
			continue
		}
		if chain, err := hsm.ReadChain(s.entry.Chain); err == nil {
			certificates = append(certificates, chain[0])
		}
	}
	for _, c := range token.Inventory().Certificates {
		if !info.Bare {
			break
		}
		if cert, err := x509.ParseCertificate(c.DER); err == nil {
			certificates = append(certificates, cert)
		}
	}
	whole, err := token.CompleteKey(ctx, info, certificates...)
	if err != nil {
		return hsm.Ability{Info: info, URI: hsm.KeyURI(token.Inventory().Token, info), Err: err}
	}
	return token.TryKey(ctx, whole)
}

// servedKey is a key that a site's certificate names.
type servedKey struct {
	site  string
	path  string // of the setting
	entry hsm.Entry
	named bool // it can be on no other token
}

type servedKeys []servedKey

// served are the keys that sites serve and that may be on the token.
func (d *doctorVisit) served(token *hsm.Token) servedKeys {
	var all servedKeys
	for i, site := range d.config.Sites {
		for j, c := range site.Certificates {
			uri, err := hsm.ParseURI(c.Key)
			if err != nil {
				d.report.fail("certificate", "site "+site.Name, err)
				continue
			}
			if len(d.config.HSM.Tokens) > 1 && !uri.MatchesToken(token.Inventory().Token) {
				continue // it is another token's
			}
			all = append(all, servedKey{
				site: site.Name, path: fmt.Sprintf("sites[%d].certificates[%d]", i, j),
				entry: hsm.Entry{Key: uri, Chain: c.Chain},
				named: uri.Token != nil || uri.Serial != nil || len(d.config.HSM.Tokens) == 1,
			})
		}
	}
	return all
}

// sites are those that serve a key.
func (s servedKeys) sites(k wire.Key) []string {
	names := []string{}
	for _, e := range s {
		if e.entry.Key.MatchesKey(k) && !slices.Contains(names, e.site) {
			names = append(names, e.site)
		}
	}
	return names
}

// tls12Site is a site that a key which does not sign in TLS 1.3 leaves to TLS 1.2.
type tls12Site struct {
	name string
	// refused is a listener that takes TLS 1.3 alone, or "".
	refused string
}

// onlyTLS12 returns those sites of a key that have no other one for TLS 1.3: none
// of those that were tried, and no certificate on another token.
func (d *doctorVisit) onlyTLS12(a hsm.Ability, served servedKeys, tried []hsm.Ability) (only []tls12Site) {
	modern := ""
	for _, l := range d.config.Listeners {
		if l.Policy == proxy.Modern.String() {
			modern = l.Address
		}
	}
	for _, name := range served.sites(a.Info) {
		other := slices.ContainsFunc(tried, func(o hsm.Ability) bool { return o.TLS13 && slices.Contains(served.sites(o.Info), name) })
		site := slices.IndexFunc(d.config.Sites, func(s configs.Site) bool { return s.Name == name })
		here := 0
		for _, s := range served {
			if s.site == name {
				here++
			}
		}
		if !other && here == len(d.config.Sites[site].Certificates) {
			only = append(only, tls12Site{name, modern})
		}
	}
	return only
}

// key judges what a key can do for the sites that serve it, of which only12 have
// no other key for TLS 1.3.
func (r *doctorReport) key(a hsm.Ability, sites []string, only12 []tls12Site) {
	k := keyAbility{
		Label: a.Info.Label, ID: a.Info.ID, Type: a.Info.Type, URI: a.URI, Sites: sites,
		Schemes: schemeNames(a.Schemes), Missing: schemeNames(a.Missing),
	}
	if a.Err != nil {
		k.Error = a.Err.Error()
	}
	r.Keys = append(r.Keys, k)
	name := fmt.Sprintf("%q %s", a.Info.Label, a.Info.Type)
	bad, use := levelWarn, "no site serves it"
	if len(sites) > 0 {
		bad, use = levelFail, "for site "+strings.Join(sites, ", ")
	}
	switch {
	case a.Err != nil:
		r.add("key", name, bad, "%v; %s", a.Err, use)
		r.hint(timeoutHint(a.Err))
	case !a.TLS13:
		text := fmt.Sprintf("%s, but not %s, which TLS 1.3 needs; %s", describeSchemes(a.Schemes), describeSchemes(a.Missing), use)
		if len(only12) == 0 && len(sites) > 0 {
			r.add("key", name, levelOK, "%s, in TLS 1.2 alone; its other keys sign in TLS 1.3", text)
			return
		}
		if len(only12) == 0 {
			r.add("key", name, levelWarn, "%s", text)
			return
		}
		if l := only12[0].refused; l != "" {
			r.fail("key", name, hint(fmt.Errorf("%s, which has no other key: its clients are refused by the listener %s, whose policy is modern", text, l),
				"serve an ECDSA key of this token as well, or have that listener take policy: intermediate"))
			return
		}
		r.add("key", name, levelWarn, "%s, in TLS 1.2 alone, since it has no other key", text)
		r.hint("an ECDSA key of this token signs in TLS 1.3, where the token can make one: let the site serve it as well")
	case len(a.Missing) > 0:
		r.add("key", name, levelWarn, "%s, but not %s; %s", describeSchemes(a.Schemes), describeSchemes(a.Missing), use)
	default:
		r.add("key", name, levelOK, "%s; %s", describeSchemes(a.Schemes), use)
	}
}

func schemeNames(schemes []tls.SignatureScheme) []string {
	names := []string{}
	for _, s := range schemes {
		names = append(names, s.String())
	}
	return names
}

// describeSchemes gathers schemes that differ by their hashes alone, as in
// "PSS with SHA-256/384/512, PKCS#1 with SHA-256".
func describeSchemes(schemes []tls.SignatureScheme) string {
	var kinds []string
	hashes := make(map[string][]string)
	for _, s := range schemes {
		kind, hash := "ECDSA", ""
		name := s.String()
		switch {
		case strings.HasPrefix(name, "PSS"):
			kind = "PSS"
		case strings.HasPrefix(name, "PKCS1"):
			kind = "PKCS#1"
		}
		if i := strings.LastIndex(name, "SHA"); i >= 0 {
			hash = name[i+len("SHA"):]
		}
		if hashes[kind] == nil {
			kinds = append(kinds, kind)
		}
		hashes[kind] = append(hashes[kind], hash)
	}
	var all []string
	for _, kind := range kinds {
		all = append(all, kind+" with SHA-"+strings.Join(hashes[kind], "/"))
	}
	return strings.Join(all, ", ")
}
