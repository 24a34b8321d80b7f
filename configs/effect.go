package configs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// warnOfNoEffect warns of settings that are valid and can never take effect, of which
// their author will have expected something. c is valid.
func (c *Config) warnOfNoEffect(p place) {
	for i, l := range c.Listeners {
		l.warnOfNetworks(p.key("listeners").item(i))
	}
	for i, r := range c.Redirects {
		r.warnOfTarget(p.key("redirects").item(i), c)
	}
	for i, t := range c.HSM.Tokens {
		t.warnOfTimeout(p.key("hsm").key("tokens").item(i), c.Listeners)
	}
	underscores := slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.AllowUnderscores })
	routed := map[string]bool{}
	for i, s := range c.Sites {
		at := p.key("sites").item(i)
		s.warnOfHSTS(at.key("hsts"))
		s.warnOfTwins(at.key("certificates"))
		for j, r := range s.Routes {
			routed[r.Pool] = true
			at := at.key("routes").item(j)
			r.RequestFields.warnOfEdits(at.key("request_fields"), underscores)
			r.ResponseFields.warnOfEdits(at.key("response_fields"), true)
		}
	}
	for i, pl := range c.Pools {
		at := p.key("pools").item(i)
		if !routed[pl.Name] {
			at.warn("no route leads to it", "")
		}
		pl.warnOfIdle(at)
	}
}

// warnOfIdle finds what is said of kept connections where none are.
func (pl Pool) warnOfIdle(p place) {
	kept, idle := p.key("idle_connections"), p.key("timeouts").key("idle")
	switch {
	case pl.ProxyProtocol != Off:
		for _, at := range []place{kept, idle} {
			if at.isWritten() {
				at.warn("no connection with a PROXY header is kept", "leave it out")
			}
		}
	case pl.Protocol == ProtocolH2C && kept.isWritten():
		kept.warn("requests share a few connections with protocol: h2c", "leave it out")
	case pl.Protocol == ProtocolHTTP1 && pl.IdleConnections == 0 && idle.isWritten():
		idle.warn("no connection is kept, by idle_connections", "leave it out")
	}
}

// warnOfNetworks finds peers that cannot connect, since they are of another family than
// the listener. What a PROXY header tells of may be of either.
func (l Listener) warnOfNetworks(p place) {
	warnOfPeers(p.key("proxy_protocol"), l.Address, l.ProxyProtocol)
	if len(l.ProxyProtocol) == 0 {
		warnOfPeers(p.key("trusted_proxies"), l.Address, l.TrustedProxies)
	}
}

func warnOfPeers(p place, address string, networks []netip.Prefix) {
	at, ok := listenAddress(address)
	if !ok || !at.Addr().IsValid() {
		return
	}
	for i, n := range networks {
		if n.Addr().Is4() != at.Addr().Is4() {
			p.item(i).warn(fmt.Sprintf("nobody connects from %s, since %s is of the other family", n, quote(address)), "")
		}
	}
}

// warnOfTarget finds a redirect to the port of one, where nothing speaks TLS.
func (r Redirect) warnOfTarget(p place, c *Config) {
	warnOfPeers(p.key("proxy_protocol"), r.Address, r.ProxyProtocol)
	port := func(address string) int {
		at, _ := listenAddress(address)
		return int(at.Port())
	}
	for _, l := range c.Listeners {
		if port(l.Address) == r.To {
			return
		}
	}
	for i, other := range c.Redirects {
		if port(other.Address) == r.To {
			p.key("to").warn(fmt.Sprintf("port %d is that of redirects[%d], which does not speak TLS", r.To, i), "the port that HTTPS is at for clients")
			return
		}
	}
}

// warnOfTimeout finds a wait for signatures that no handshake is there to see the end of.
func (t Token) warnOfTimeout(p place, listeners []Listener) {
	var longest Duration
	for _, l := range listeners {
		longest = max(longest, l.Timeouts.Handshake)
	}
	if t.SignTimeout >= longest {
		p.key("sign_timeout").warn(fmt.Sprintf("every handshake is over before, after %s", time.Duration(longest)), "less than listeners[].timeouts.handshake, so that another process or token can be tried")
	}
}

// warnOfHSTS finds a site for addresses alone: browsers heed HSTS of names (RFC 6797 §8.1.1).
func (s Site) warnOfHSTS(p place) {
	isName := func(host string) bool { _, err := netip.ParseAddr(host); return err != nil }
	if s.HSTS.MaxAge != nil && !slices.ContainsFunc(s.Hosts, isName) {
		p.warn("browsers take it from names alone, and all hosts of the site are addresses", "")
	}
}

// warnOfTwins finds certificates that are listed twice.
func (s Site) warnOfTwins(p place) {
	for i, c := range s.Certificates {
		if first := slices.Index(s.Certificates, c); first < i {
			p.item(i).warn("is the same as "+p.item(first).path, "leave out one of them")
		}
	}
}

// warnOfEdits finds removals of what is not there, or goes anyway.
func (e FieldEdits) warnOfEdits(p place, underscores bool) {
	p = p.key("remove")
	for i, name := range e.Remove {
		at := p.item(i)
		same := func(other string) bool { return strings.EqualFold(name, other) }
		switch first := slices.IndexFunc(e.Remove, same); {
		case first < i:
			at.warn(quote(name)+" is given twice", "leave out one of them")
		case slices.ContainsFunc(e.Set, func(f Field) bool { return same(f.Name) }):
			at.warn(quote(name)+" is set as well, which takes the place of all that come", "leave it out here")
		case !underscores && strings.Contains(name, "_"):
			at.warn("requests with "+quote(name)+" are refused before, as no listener has allow_underscores", "leave it out")
		}
	}
}
