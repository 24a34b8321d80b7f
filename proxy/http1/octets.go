package http1

import "sallyport/proxy/message/syntax"

// Classes of octets that framing is made of; package syntax has them all.
const (
	isToken = syntax.Token
	isHex   = syntax.Hex
	isText  = syntax.Text
)

var classes = &syntax.Classes

// all says whether b is of a class as a whole.
func all(b []byte, class syntax.Class) bool { return syntax.All(b, class) }

// isValue says whether b may be a field's value.
func isValue(b []byte) bool { return syntax.Value(b) }

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
