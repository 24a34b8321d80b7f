package syntax

import (
	"encoding/binary"
	"strings"
)

// Class is a set of octets, or several.
type Class uint16

// Classes of octets.
const (
	Token   Class = 1 << iota // RFC 9110 §5.6.2
	Lower                     // of a token without capitals, as HTTP/2 has field names (RFC 9113 §8.2.1)
	Path                      // of a path, as it comes and is sent on
	Query                     // of a query, likewise
	Host                      // of a registered name or an IPv4 address
	Address                   // of an IPv6 address
	Hex
	Digit
	Text // VCHAR, SP and HTAB

	// Clients send these as they are, RFC 3986 would have them encoded, and
	// servers differ in what they make of them: they are sent on with per cent.
	encodedPath
	encodedQuery

	plain // of a path, with one meaning wherever it stands
)

// Classes has the classes of each octet.
//
// A path and a query take what RFC 3986 lets them, and beside that what
// clients are known not to encode: browsers (the percent-encode sets of the
// WHATWG's URL standard), curl, and the HTTP clients of Go, Node, PHP and Python. None of it
// can end a target, nor is any of it a separator to HTTP. A backslash in a path,
// which is a slash to some, the delimiters of HTML, and octets beyond ASCII
// are encoded; NUL and its kin, the space, and the number sign are refused.
var Classes = func() (t [256]Class) {
	set := func(class Class, chars string) {
		for _, c := range []byte(chars) {
			t[c] |= class
		}
	}
	const lower, upper = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	const digits, hex = "0123456789", "0123456789abcdefABCDEF"
	const marks = "!#$%&'*+-.^_`|~"
	set(Token|Lower, lower+digits+marks)
	set(Token, upper)
	set(Path|Query|Host, lower+upper+digits)
	set(Host, "-._")
	set(Path|Query, "/-._~!$&'()*+,;=:@%[]|{}^`")
	set(Query, "?\\")
	set(encodedPath, `\`)
	set(encodedPath|encodedQuery, `"<>`)
	set(Address, hex+":.")
	set(Hex, hex)
	set(Digit, digits)
	for c := range t {
		if c >= ' ' && c < 0x7f || c == '\t' {
			t[c] |= Text
		}
		if c > ' ' && c < 0x7f && !strings.ContainsRune(`%\;?#/.`, rune(c)) {
			t[c] |= plain
		}
		if c >= 0x80 {
			t[c] |= encodedPath | encodedQuery
		}
	}
	return t
}()

// Span is the length of the part of b, from its start, that is of a class.
func Span(b []byte, class Class) int {
	for i, c := range b {
		if Classes[c]&class == 0 {
			return i
		}
	}
	return len(b)
}

// All reports whether b is of a class as a whole.
func All(b []byte, class Class) bool { return Span(b, class) == len(b) }

// maxMethod is more than any registered method has.
const maxMethod = 32

// Method reports whether b may be a method: a token of no unreasonable length.
func Method(b []byte) bool { return len(b) > 0 && len(b) <= maxMethod && All(b, Token) }

// Value reports whether b may be a field's value: no control characters but
// HTAB (RFC 9110 §5.5). It looks at eight octets at a time.
func Value(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	last := len(b) - 8
	if last < 0 {
		return valueSlow(b)
	}
	for i := 0; ; i = min(i+8, last) { // the last eight may have been seen in part
		x := binary.LittleEndian.Uint64(b[i:])
		del := x ^ 0x7f*ones
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 && !valueSlow(b[i:i+8]) {
			return false
		}
		if i == last {
			return true
		}
	}
}

func valueSlow(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
