package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// site is a Site made ready.
type site struct {
	name       string
	routes     *routes
	errorPages map[int]*errorPage      // by status
	hsts       []byte                  // Strict-Transport-Security; nil: the backends' own
	configs    [Modern + 1]*tls.Config // by policy
	limiter    versionLimiter          // nil: every version that a policy allows
	tls12      *tls.Config             // Intermediate without TLS 1.3, where the limiter says so
}

// siteTable finds a site by name. It does not change after newSiteTable.
type siteTable struct {
	exact     map[string]*site // by name or IP literal
	wildcards map[string]*site // "*.example.org" by "example.org"
	tickets   []*ticketKeys
	refused   [Modern + 1]*tls.Config
}

func newSiteTable(sites []Site, route func(Site) (*routes, error)) (*siteTable, error) {
	t := &siteTable{exact: map[string]*site{}, wildcards: map[string]*site{}}
	for p := range t.refused {
		t.refused[p] = Policy(p).refusal()
	}
	var problems []error
	for _, cfg := range sites {
		s := &site{name: cfg.Name, hsts: cfg.HSTS.value()}
		var err error
		if s.routes, err = route(cfg); err != nil {
			problems = append(problems, fmt.Errorf("site %q: %w", cfg.Name, err))
		}
		if s.errorPages, err = newErrorPages(cfg.ErrorPages); err != nil {
			problems = append(problems, fmt.Errorf("site %q: %w", cfg.Name, err))
		}
		for p := range s.configs {
			c := Policy(p).config()
			c.GetCertificate = watchKey(cfg.Certificates)
			s.configs[p] = c
			t.tickets = append(t.tickets, newTicketKeys(c))
		}
		if limiter, ok := cfg.Certificates.(versionLimiter); ok {
			s.limiter, s.tls12 = limiter, s.configs[Intermediate].Clone()
			s.tls12.MaxVersion = tls.VersionTLS12
			t.tickets = append(t.tickets, newTicketKeys(s.tls12))
		}
		for _, host := range cfg.Hosts {
			if err := t.add(host, s); err != nil {
				problems = append(problems, fmt.Errorf("site %q: %w", cfg.Name, err))
			}
		}
	}
	return t, errors.Join(problems...)
}

func (t *siteTable) add(host string, s *site) error {
	names, name := t.exact, normalHost(host)
	if parent, ok := strings.CutPrefix(name, "*."); ok {
		names, name = t.wildcards, parent
	}
	if name == "" || strings.Contains(name, "*") {
		return fmt.Errorf("host %q is neither a name, a wildcard of one label nor an address", host)
	}
	if other, taken := names[name]; taken {
		return fmt.Errorf("host %q is already served by site %q", host, other.name)
	}
	names[name] = s
	return nil
}

// find returns the site that serves host: the exact name before the wildcard,
// which stands for exactly one label. nil when none does.
func (t *siteTable) find(host string) *site {
	host = normalHost(host)
	if s := t.exact[host]; s != nil {
		return s
	}
	if label, parent, ok := strings.Cut(host, "."); ok && label != "" {
		return t.wildcards[parent]
	}
	return nil
}

// bySNI returns the site a handshake asks for. A client that sends no name
// gets the site that lists the address it connected to.
func (t *siteTable) bySNI(hello *tls.ClientHelloInfo) *site {
	if hello.ServerName != "" {
		return t.find(hello.ServerName)
	}
	local, err := netip.ParseAddrPort(hello.Conn.LocalAddr().String())
	if err != nil {
		return nil
	}
	return t.exact[local.Addr().Unmap().WithZone("").String()]
}

// configFor is a listener's GetConfigForClient: it fixes the connection's site.
func (t *siteTable) configFor(policy Policy) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s := t.bySNI(hello)
		if c, ok := hello.Conn.(*conn); ok {
			c.site = s
		}
		if s == nil {
			return t.refused[policy], nil
		}
		if policy == Intermediate && s.limiter != nil && s.limiter.MaxVersion(hello) == tls.VersionTLS12 {
			return s.tls12, nil
		}
		return s.configs[policy], nil
	}
}

// normalHost brings a host into the one spelling that tables are keyed by:
// lower case, no trailing dot, addresses without brackets in their shortest
// form. It does not validate.
func normalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, err := netip.ParseAddr(bare); err == nil {
		return ip.Unmap().WithZone("").String()
	}
	return host
}

// maxHost is how long a name can be (RFC 1035 §2.3.4).
const maxHost = 255

// authorityHost returns the host of an authority, without its port. ok is false
// for one that is empty or malformed (RFC 9110 §7.2, RFC 3986 §3.2), or that could not
// be said to a backend by HTTP/1.1.
func authorityHost(authority string) (host string, ok bool) {
	host = authority
	if at := strings.LastIndexByte(authority, ':'); at >= 0 && !strings.HasSuffix(authority, "]") {
		if _, err := strconv.ParseUint(authority[at+1:], 10, 16); err != nil || len(authority)-at > len(":65535") {
			return "", false
		}
		host = authority[:at]
	}
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		inner, closed := strings.CutSuffix(inner, "]")
		ip := net.ParseIP(inner)
		return host, closed && ip != nil && strings.Contains(inner, ":")
	}
	if host == "" || host == "." || len(host) > maxHost {
		return "", false
	}
	for _, c := range []byte(host) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-' || c == '.' || c == '_':
		default:
			return "", false
		}
	}
	return host, true
}
