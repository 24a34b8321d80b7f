package proxy

import (
	"net/http"
	"net/netip"
	"strings"
)

// peerAddr is the address a request's connection came from.
func peerAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// clientAddr is who a request is from, for the log: the peer, or, as long as
// that is a trusted proxy, whoever it says it got the request from.
func clientAddr(r *http.Request, l *listener) netip.Addr {
	client := peerAddr(r)
	if !l.trusts(client) {
		return client
	}
	list := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(list) - 1; i >= 0 && l.trusts(client); i-- {
		before, err := netip.ParseAddr(strings.TrimSpace(list[i]))
		if err != nil {
			break
		}
		client = before.Unmap().WithZone("")
	}
	return client
}

// setForwarded sets X-Forwarded-For, -Proto and -Host and Forwarded (RFC 7239)
// on the request to the backend. From a trusted peer the lists that came are
// extended, and its word on scheme and host stands; what anybody else claims
// is dropped, also spelt with underscores, which some backends take for dashes.
func setForwarded(out http.Header, in *http.Request, trusted bool) {
	for name := range out {
		switch plain := strings.ReplaceAll(strings.ToLower(name), "_", "-"); {
		case plain == "forwarded", strings.HasPrefix(plain, "x-forwarded-"), plain == "x-real-ip":
			if !trusted || strings.Contains(name, "_") {
				delete(out, name)
			}
		}
	}
	peer := peerAddr(in)
	before := in.Header
	if !trusted {
		before = nil
	}
	out.Set("X-Forwarded-For", extend(before["X-Forwarded-For"], peer.String()))
	out.Set("Forwarded", extend(before["Forwarded"], forwardedElement(peer, in.Host)))
	set := func(name, own string) {
		if v := before[name]; len(v) > 0 {
			out[name] = v
			return
		}
		out.Set(name, own)
	}
	set("X-Forwarded-Proto", "https")
	set("X-Forwarded-Host", in.Host)
}

func extend(list []string, last string) string {
	return strings.Join(append(list[:len(list):len(list)], last), ", ")
}

// forwardedElement is this hop's element of Forwarded. An IPv6 address is
// bracketed and quoted (RFC 7239 §6), a host with a port is quoted.
func forwardedElement(peer netip.Addr, host string) string {
	node := peer.String()
	switch {
	case !peer.IsValid():
		node = "unknown"
	case peer.Is6():
		node = `"[` + node + `]"`
	}
	if strings.ContainsAny(host, ":[]") {
		host = `"` + host + `"`
	}
	return "for=" + node + ";host=" + host + ";proto=https"
}
