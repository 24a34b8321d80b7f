package http2

import "bytes"

// class says for each byte where it may stand.
var class = func() (t [256]uint8) {
	set := func(bit uint8, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= bit
		}
	}
	const lower, digit = "abcdefghijklmnopqrstuvwxyz", "0123456789"
	const upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	const unreserved, subDelims = lower + upper + digit + "-._~", "!$&'()*+,;="
	set(inName, lower+digit+"!#$%&'*+-.^_`|~")
	set(inMethod, lower+upper+digit+"!#$%&'*+-.^_`|~")
	set(inPath, unreserved+subDelims+":@/?%")
	set(inHost, unreserved+subDelims+"%")
	set(inAddress, digit+"abcdefABCDEF:.")
	set(inDigits, digit)
	for c := range t {
		if c >= 0x20 && c != 0x7f || c == '\t' {
			t[c] |= inValue
		}
	}
	return t
}()

const (
	inName    = 1 << iota // a field's, of which HTTP/2 has no capitals (RFC 9113 §8.2.1)
	inMethod              // a token (RFC 9110 §5.6.2)
	inPath                // RFC 3986 §3.3 and §3.4, which is all that HTTP/1.1 takes (RFC 9112 §3.2.1)
	inHost                // RFC 3986 §3.2.2, reg-name and IPv4
	inAddress             // IPv6
	inDigits
	inValue // no controls but the tab (RFC 9110 §5.5)
)

func all(b []byte, bit uint8) bool {
	for _, c := range b {
		if class[c]&bit == 0 {
			return false
		}
	}
	return true
}

func validName(b []byte) bool { return len(b) > 0 && all(b, inName) }

func validMethod(b []byte) bool { return len(b) > 0 && all(b, inMethod) }

// validValue refuses also blanks at either end, which HTTP/1.1 would take off.
func validValue(b []byte) bool {
	if n := len(b); n > 0 && (blank(b[0]) || blank(b[n-1])) {
		return false
	}
	return all(b, inValue)
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// validPath wants an absolute path with perhaps a query.
func validPath(b []byte) bool { return len(b) > 0 && b[0] == '/' && all(b, inPath) }

// validAuthority wants a host with perhaps a port, and no user (RFC 9110 §4.2.4).
func validAuthority(b []byte) bool {
	host, port := b, []byte(nil)
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 3 || !all(b[1:end], inAddress) {
			return false
		}
		host, port = nil, b[end+1:]
	} else if colon := bytes.IndexByte(b, ':'); colon >= 0 {
		host, port = b[:colon], b[colon:]
		if colon == 0 {
			return false
		}
	} else if len(b) == 0 {
		return false
	}
	if len(port) > 0 && (port[0] != ':' || len(port) > 6 || !all(port[1:], inDigits)) {
		return false
	}
	return all(host, inHost)
}

// parseLength reads a Content-Length: digits and nothing else, of a size that
// can be counted.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 || !all(b, inDigits) {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		n = n*10 + int64(c-'0')
	}
	return n, true
}
