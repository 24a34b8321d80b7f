package proxy

import (
	"bytes"

	"sallyport/proxy/message/syntax"
)

// lastNodes returns the end of a list of X-Forwarded-For from where on it has nothing but
// nodes: a proxy in front appends to what its client sent.
func lastNodes(list []byte) []byte {
	for end := len(list); end > 0; {
		begin := bytes.LastIndexByte(list[:end], ',') + 1
		if member := bytes.Trim(list[begin:end], " \t"); len(member) > 0 && !isNode(member) {
			return bytes.Trim(list[end:], ", \t")
		}
		end = begin - 1
	}
	return list
}

// isNode reports whether b looks like a node: an address, perhaps with a port, "unknown", or an
// obfuscated identifier (RFC 7239 §6).
func isNode(b []byte) bool {
	const most = len("[0000:0000:0000:0000:0000:ffff:255.255.255.255]:65535")
	switch {
	case len(b) > 1 && b[0] == '_':
		return len(b) <= maxNode && isToken(b[1:])
	case len(b) == len("unknown") && bytes.EqualFold(b, []byte("unknown")):
		return true
	case len(b) > most || bytes.IndexByte(b, '.') < 0 && bytes.IndexByte(b, ':') < 0:
		return false
	}
	for _, c := range b {
		if syntax.Classes[c]&syntax.Address == 0 && c != '[' && c != ']' {
			return false
		}
	}
	return true
}

const maxNode = 128

func isToken(b []byte) bool { return len(b) > 0 && syntax.All(b, syntax.Token) }

func isAuthority(b []byte) bool {
	_, ok := syntax.Authority(b)
	return ok
}

// eachMember reports whether a list has members and all of them are good.
func eachMember(list []byte, good func([]byte) bool) bool {
	for {
		member, rest, more := bytes.Cut(list, []byte{','})
		if !good(bytes.Trim(member, " \t")) {
			return false
		}
		if !more {
			return true
		}
		list = rest
	}
}

// forwardedList returns a value of Forwarded if it is one, as a whole (RFC 7239 §4): behind a
// quotation mark without its end nobody can tell what is quoted.
func forwardedList(b []byte) []byte {
	rest := b
	for len(rest) > 0 {
		switch rest[0] {
		case ',', ';', ' ', '\t':
			rest = rest[1:]
			continue
		}
		name := syntax.Span(rest, syntax.Token)
		if name == 0 || name == len(rest) || rest[name] != '=' {
			return nil
		}
		rest = rest[name+1:]
		value := syntax.Span(rest, syntax.Token)
		if len(rest) > 0 && rest[0] == '"' {
			value = quoted(rest)
		}
		if rest = rest[value:]; value == 0 || len(rest) > 0 && bytes.IndexByte([]byte(",; \t"), rest[0]) < 0 {
			return nil
		}
	}
	return b
}

// quoted is the length of the quoted string that b begins with, 0 where it has no end
// (RFC 9110 §5.6.4).
func quoted(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return 0
}
