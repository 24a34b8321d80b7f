package syntax

import "bytes"

// maxHost is the length of the longest name, and of a port.
const maxHost = 255 + len(":65535")

// Authority checks a host with or without a port: a name or an IPv4 address, or an IPv6
// address in brackets. There is no userinfo (RFC 9110 §4.2.4). It returns b without the
// colon of a port that is empty (RFC 3986 §6.2.3).
func Authority(b []byte) (authority []byte, ok bool) {
	if len(b) == 0 || len(b) > maxHost {
		return nil, false
	}
	n := Span(b, Host)
	if b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < len("[::") || !All(b[1:end], Address) || bytes.IndexByte(b[:end], ':') < 0 {
			return nil, false
		}
		n = end + 1
	}
	switch {
	case n == 0:
		return nil, false
	case n == len(b):
		return b, true
	case b[n] != ':':
		return nil, false
	case n+1 == len(b):
		return b[:n], true
	}
	return b, port(b[n+1:])
}

func port(b []byte) bool {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
		n = min(n*10+int(c-'0'), 1<<16)
	}
	return len(b) <= 5 && n < 1<<16
}
