package configs

import (
	"net"
	"net/netip"
	"regexp"
	"strings"
)

// CanonicalHost is a host as a site takes it, in the form that it is compared in. Its error
// has a Hint.
func CanonicalHost(text string) (string, error) { return canonicalHost(text) }

// canonicalHost is a site's host in the one form that it is compared in: a
// lower-case name or wildcard, or an IP address as [netip.Addr] prints it. The
// error is a *fault.
func canonicalHost(text string) (string, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Zone() != "" {
			return "", &fault{quote(text) + " has a zone", "write the address without it"}
		}
		return addr.Unmap().String(), nil
	}
	host := strings.ToLower(text)
	name, wildcard := strings.CutPrefix(host, "*.")
	switch {
	case text == "":
		return "", &fault{"must not be empty", ""}
	case strings.HasSuffix(host, "."):
		return "", &fault{quote(text) + " ends with a dot", "clients send names without it"}
	case host == "*" || strings.Contains(name, "*"):
		return "", &fault{quote(text) + " has a wildcard where none can be", "a wildcard is the whole first label, as in *.example.org"}
	case isHostPort(host):
		return "", &fault{quote(text) + " has a port or brackets", "write the host alone: a site answers on every listener"}
	case strings.ContainsFunc(host, func(r rune) bool { return r > 0x7f }):
		return "", &fault{quote(text) + " is not in ASCII", "write an international name in the form that begins with xn--"}
	case !isHostName(name), wildcard && len(host) > maxHostName:
		return "", &fault{quote(text) + " is not a host", "a name such as www.example.org, a wildcard such as *.example.org, or an IP address"}
	}
	return host, nil
}

const maxHostName = 253

var (
	labelSyntax = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)
	digits      = regexp.MustCompile(`^[0-9]+$`)
)

// isHostName tells whether text can be a name in the DNS. Underscores are taken,
// as they are in use; a last label of digits is not, as it is that of an IP
// address gone wrong.
func isHostName(text string) bool {
	labels := strings.Split(text, ".")
	for _, label := range labels {
		if !labelSyntax.MatchString(label) {
			return false
		}
	}
	return len(text) <= maxHostName && !digits.MatchString(labels[len(labels)-1])
}

func isHostPort(text string) bool {
	if strings.HasPrefix(text, "[") {
		return true
	}
	_, port, err := net.SplitHostPort(text)
	return err == nil && digits.MatchString(port)
}
