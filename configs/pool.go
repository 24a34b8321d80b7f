package configs

import (
	"net"
	"net/netip"
	"strings"
)

func (pl Pool) validate(p place) {
	checkName(p.key("name"), pl.Name)
	oneOf(p.key("balance"), pl.Balance, BalanceRoundRobin)
	oneOf(p.key("protocol"), pl.Protocol, ProtocolHTTP1, ProtocolH2C)
	between(p.key("idle_connections"), pl.IdleConnections, 0, 10_000)
	oneOf(p.key("proxy_protocol"), pl.ProxyProtocol, Off, ProxyV1, ProxyV2)
	if pl.Protocol == ProtocolH2C && (pl.ProxyProtocol == ProxyV1 || pl.ProxyProtocol == ProxyV2) {
		p.key("proxy_protocol").say("does not go with protocol: h2c", "its connections serve many clients at once, and a PROXY header tells of one; backends find the client in Forwarded")
	}

	backends := p.key("backends")
	some(backends, pl.Backends, "backend")
	each(backends, pl.Backends, Backend.validate)
	distinct(backends, pl.Backends, "address", func(b Backend) string { return strings.ToLower(b.Address) })
}

func (b Backend) validate(p place) {
	at := p.key("address")
	switch {
	case b.Address == "":
		required(at)
	case strings.Contains(b.Address, "://"):
		at.say(quote(b.Address)+" is a URL", "write host:port; backends are spoken to without TLS")
	case !isBackendAddress(b.Address):
		at.say(quote(b.Address)+" is not an address", "host:port, such as 10.0.0.101:8080, [2001:db8::1]:8080 or app.internal:8080")
	}
}

func isBackendAddress(address string) bool {
	host, portText, err := net.SplitHostPort(address)
	port, ok := parsePort(portText)
	if err != nil || !ok || port == 0 {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err == nil || isHostName(host)
}
