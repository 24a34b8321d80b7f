package http1

import (
	"bytes"

	"sallyport/proxy/message"
)

var (
	slash    = []byte("/")
	asterisk = []byte("*")
)

// takeTarget fills in what the target says beside Host (RFC 9112 §3.2), and
// holds both to each other: who reads the one must not see another site than
// who reads the other.
func takeTarget(r *message.Request, target []byte, secure bool) *Error {
	switch {
	case string(r.Method) == "CONNECT":
		if !validHost(target) || bytes.LastIndexByte(target, ':') < 0 {
			return errTarget
		}
		return takeAuthority(r, target)
	case target[0] == '/':
		r.Path = target
	case len(target) == 1 && target[0] == '*':
		if string(r.Method) != "OPTIONS" {
			return errTarget
		}
		r.Path = target
	default:
		return takeAbsolute(r, target, secure)
	}
	return checkPath(r.Path)
}

// takeAbsolute takes no target of another scheme than the connection's: what is https
// must have come by TLS, and what is http is another resource (RFC 9110 §7.4).
func takeAbsolute(r *message.Request, target []byte, secure bool) *Error {
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !fold(scheme, "http") && !fold(scheme, "https") {
		return errTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	if !validHost(rest[:end]) {
		return errTarget
	}
	if err := takeAuthority(r, rest[:end]); err != nil {
		return err
	}
	if fold(scheme, "https") != secure {
		return errScheme
	}
	switch path := rest[end:]; {
	case len(path) == 0 && string(r.Method) == "OPTIONS":
		r.Path = asterisk // RFC 9112 §3.2.4
	case len(path) == 0:
		r.Path = slash
	case path[0] == '?':
		// The authority is Host's from here on, so its last octet here can
		// become the slash that a path begins with.
		rest[end-1] = '/'
		r.Path = rest[end-1:]
	default:
		r.Path = path
	}
	return checkPath(r.Path)
}

func takeAuthority(r *message.Request, authority []byte) *Error {
	if r.Authority == nil && r.Minor == 0 {
		r.Authority = bytes.Clone(authority)
		return nil
	}
	if !bytes.EqualFold(r.Authority, authority) {
		return errAuthority
	}
	return nil
}

// checkPath holds a path and query to their octets. Where a path has a percent
// sign, two hexadecimal digits follow; in a query browsers send it alone too.
func checkPath(target []byte) *Error {
	if len(target) == 1 {
		return nil // "/" or "*"
	}
	n := span(target, isPath)
	for rest := target[:n]; ; {
		i := bytes.IndexByte(rest, '%')
		if i < 0 {
			break
		}
		if len(rest) < i+3 || classes[rest[i+1]]&classes[rest[i+2]]&isHex == 0 {
			return errTarget
		}
		rest = rest[i+3:]
	}
	if n < len(target) && (target[n] != '?' || !all(target[n:], isQuery)) {
		return errTarget
	}
	return nil
}

// maxHost is the length of the longest name, and of a port.
const maxHost = 255 + len(":65535")

// validHost says whether b is a host with or without a port: a name or an IPv4
// address, or an IPv6 address in brackets. There is no userinfo (RFC 9110 §4.2.4).
func validHost(b []byte) bool {
	if len(b) == 0 || len(b) > maxHost {
		return false
	}
	var rest []byte
	if b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < len("[::") || !validIPv6(b[1:end]) {
			return false
		}
		rest = b[end+1:]
	} else {
		n := span(b, isHost)
		if n == 0 {
			return false
		}
		rest = b[n:]
	}
	return len(rest) == 0 || rest[0] == ':' && validPort(rest[1:])
}

func validIPv6(b []byte) bool {
	for _, c := range b {
		if c != ':' && c != '.' && classes[c]&isHex == 0 {
			return false
		}
	}
	return bytes.IndexByte(b, ':') >= 0
}

func validPort(b []byte) bool {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
		n = min(n*10+int(c-'0'), 1<<16)
	}
	return len(b) > 0 && len(b) <= 5 && n < 1<<16
}
