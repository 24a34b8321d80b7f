package http1

import "encoding/binary"

// Classes of octets.
const (
	isToken uint8 = 1 << iota // RFC 9110 §5.6.2
	isPath                    // of a path as it comes
	isQuery                   // of a query as it comes
	isHost                    // of a registered name or an IPv4 address
	isHex
	isText // VCHAR, SP and HTAB
)

// classes has them for each octet. A path and a query take what RFC 3986 lets
// them, and beside that what browsers are known not to encode (the WHATWG's URL
// standard, percent-encode sets): a form's "a[]=1" is part of the web. None of it
// can end a target, nor is any of it a separator to HTTP.
var classes = func() (t [256]uint8) {
	set := func(class uint8, chars string) {
		for _, c := range []byte(chars) {
			t[c] |= class
		}
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] |= isToken | isPath | isQuery | isHost | isHex
	}
	for c := byte('a'); c <= 'z'; c++ {
		t[c] |= isToken | isPath | isQuery | isHost
		t[c-'a'+'A'] |= isToken | isPath | isQuery | isHost
	}
	set(isHex, "abcdefABCDEF")
	set(isToken, "!#$%&'*+-.^_`|~")
	set(isHost, "-._")
	set(isPath|isQuery, "/-._~!$&'()*+,;=:@%[]|")
	set(isQuery, "?{}^`\\")
	for c := byte(' '); c < 0x7f; c++ {
		t[c] |= isText
	}
	t['\t'] |= isText
	return t
}()

// span is the length of the part of b, from its start, that is of a class.
func span(b []byte, class uint8) int {
	for i, c := range b {
		if classes[c]&class == 0 {
			return i
		}
	}
	return len(b)
}

// all says whether b is of a class as a whole.
func all(b []byte, class uint8) bool { return span(b, class) == len(b) }

// isValue says whether b may be a field's value: no control characters but
// HTAB. It looks at eight octets at a time.
func isValue(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*ones
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 && !isValueSlow(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return isValueSlow(b)
}

func isValueSlow(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// trim takes the white space around a value away.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// fold compares ASCII without case to text in lower case.
func fold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
