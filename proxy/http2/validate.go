package http2

import "bytes"

// class says for each byte where it may stand.
var class = func() (t [256]uint16) {
	set := func(bit uint16, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= bit
		}
	}
	const lower, digit = "abcdefghijklmnopqrstuvwxyz", "0123456789"
	const upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	const unreserved, subDelims = lower + upper + digit + "-._~", "!$&'()*+,;="
	set(inName, lower+digit+"!#$%&'*+-.^_`|~")
	set(inMethod, lower+upper+digit+"!#$%&'*+-.^_`|~")
	set(inPath, unreserved+subDelims+":@/%[]|")
	set(inQuery, unreserved+subDelims+":@/%[]|?{}^`\\")
	set(inHost, unreserved+subDelims)
	set(inAddress, digit+"abcdefABCDEF:.")
	set(inDigits, digit)
	set(inHex, digit+"abcdefABCDEF")
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
	inPath                // RFC 3986 §3.3, and what browsers do not encode there
	inQuery               // RFC 3986 §3.4, and what browsers do not encode there
	inHost                // RFC 3986 §3.2.2, reg-name and IPv4, without escapes
	inAddress             // IPv6
	inDigits
	inHex
	inValue // no controls but the tab (RFC 9110 §5.5)
)

func all(b []byte, bit uint16) bool {
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

// validPath wants an absolute path with perhaps a query. Both may have the
// characters that RFC 3986 would have encoded and that browsers send as they
// are ("?a[]=1|2"): no HTTP/1.1 server ends a target at them. In the path, where
// backends decode it to find something, an escape must be one.
func validPath(b []byte) bool {
	path, query, _ := bytes.Cut(b, []byte{'?'})
	return len(path) > 0 && path[0] == '/' && all(path, inPath) && validEscapes(path) && all(query, inQuery)
}

func validEscapes(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '%')
		if i < 0 {
			return true
		}
		if b = b[i+1:]; len(b) < 2 || !all(b[:2], inHex) {
			return false
		}
	}
}

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
