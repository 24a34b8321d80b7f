package syntax

import (
	"bytes"
	"errors"
	"strings"
)

// What is wrong with a path.
var (
	ErrNUL     = errors.New("NUL in a path")
	ErrDots    = errors.New("dot segment in a path")
	ErrEncoded = errors.New("path encoded too often")
)

// Readings are what a path may be to those who get it.
//
// Strict is the path by RFC 3986: escapes are decoded once, an encoded slash stays
// as it is, and nothing else is a slash. Apart is the same with repeated slashes as they
// came; in Strict they are one, as most servers have them.
//
// Loose is the path to a server that takes everything for what it may have been
// meant to be: escapes are decoded as long as there are any, overlong UTF-8 is; backslashes
// and encoded slashes are slashes; parameters (";x") are cut off, and what stands behind a
// question mark or a number sign; so are blanks around a segment and dots behind it.
//
// A route's path has one reading (RoutePath). So where Strict and Loose begin with the
// same one, each reading in between begins with it as well: what it consists of
// has no other meaning to anybody. Where they do not, a backend may take the
// request for one that another route should have got.
type Readings struct{ Apart, Strict, Loose []byte }

// mostDecodings is how often a path may have been encoded.
const mostDecodings = 3

// ReadPath returns the readings of a path that Target has let pass, without its
// query. It refuses one with NUL, or with a segment that is "." or "..", in any
// reading. A path that can be read in one way alone is all its readings itself; others
// are written behind scratch, which is returned.
func ReadPath(path, scratch []byte) (Readings, []byte, error) {
	if Plain(path) {
		return Readings{path, path, path}, scratch, nil
	}
	var r Readings
	start := len(scratch)
	scratch = decode(scratch, path, '/')
	r.Apart = scratch[start:len(scratch):len(scratch)]
	if err := check(r.Apart); err != nil {
		return r, scratch, err
	}
	r.Strict = r.Apart
	if bytes.Contains(r.Apart, doubleSlash) {
		start = len(scratch)
		scratch = MergeSlashes(scratch, r.Apart)
		r.Strict = scratch[start:len(scratch):len(scratch)]
	}
	start = len(scratch)
	scratch = append(scratch, path...)
	loose, err := loosen(scratch[start:])
	r.Loose = loose
	return r, scratch[:start+len(loose)], err
}

var doubleSlash = []byte("//")

// Plain reports whether a path has one reading, which is itself.
func Plain(path []byte) bool {
	for i, c := range path {
		switch {
		case Classes[c]&plain != 0:
		case c != '/' && c != '.':
			return false
		case i > 0 && (path[i-1] == '/' || c == '/' && path[i-1] == '.'):
			return false
		}
	}
	return len(path) == 0 || path[len(path)-1] != '.'
}

// MergeSlashes appends a path to dst with one slash for each row of them.
func MergeSlashes(dst, path []byte) []byte {
	for i, c := range path {
		if c != '/' || i == 0 || path[i-1] != '/' {
			dst = append(dst, c)
		}
	}
	return dst
}

// decode appends path to dst with its escapes decoded, but for that of keep. What
// only looks like an escape stays as it is.
func decode(dst, path []byte, keep byte) []byte {
	for i := 0; i < len(path); i++ {
		if c, ok := unescape(path[i:]); ok && (c != keep || keep == 0) {
			dst = append(dst, c)
			i += 2
			continue
		}
		dst = append(dst, path[i])
	}
	return dst
}

// unescape returns the octet of the escape that b begins with.
func unescape(b []byte) (c byte, ok bool) {
	if len(b) < 3 || b[0] != '%' || Classes[b[1]]&Classes[b[2]]&Hex == 0 {
		return 0, false
	}
	return digit(b[1])<<4 | digit(b[2]), true
}

func digit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// loosen makes the loose reading of a path, in its place.
func loosen(b []byte) ([]byte, error) {
	for n := 0; ; n++ {
		again := decode(b[:0], b, 0)
		again = shorten(again)
		if len(again) == len(b) {
			break
		}
		if b = again; n == mostDecodings {
			return b, ErrEncoded
		}
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return b, ErrNUL
	}
	if i := bytes.IndexAny(b, "?#"); i >= 0 {
		b = b[:i]
	}
	out := b[:0]
	for start := 0; start < len(b); {
		end := start + 1
		for end < len(b) && b[end] != '/' && b[end] != '\\' {
			end++
		}
		name, _, _ := bytes.Cut(b[start+1:end], semicolon) // behind its slash
		name = bytes.TrimFunc(name, blank)
		if isDots(name) {
			return b, ErrDots
		}
		name = bytes.TrimRightFunc(name, func(r rune) bool { return r == '.' || blank(r) })
		if start = end; len(out) == 0 || out[len(out)-1] != '/' {
			out = append(out, '/')
		}
		out = append(out, name...)
	}
	return out, nil
}

var semicolon = []byte{';'}

func blank(r rune) bool { return r <= ' ' || r == 0x7f }

func isDots(segment []byte) bool { return string(segment) == "." || string(segment) == ".." }

// shorten replaces overlong UTF-8 of ASCII by that, in its place.
func shorten(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		c, n := overlong(b[i:])
		if n == 0 {
			c, n = b[i], 1
		}
		out = append(out, c)
		i += n - 1
	}
	return out
}

// overlong returns the ASCII character that b begins with in two to four octets.
func overlong(b []byte) (c byte, n int) {
	if len(b) < 2 || b[0] < 0xc0 || b[0] > 0xf0 {
		return 0, 0
	}
	switch {
	case b[0] == 0xf0 && b[1] == 0x80:
		n = 4
	case b[0] == 0xe0 && b[1] == 0x80:
		n = 3
	case b[0] <= 0xc1:
		n = 2
	default:
		return 0, 0
	}
	if len(b) < n {
		return 0, 0
	}
	high, low := b[n-2], b[n-1]
	if low&0xc0 != 0x80 || n > 2 && high&0xfe != 0x80 {
		return 0, 0
	}
	return high&1<<6 | low&0x3f, n
}

// check refuses what no reading may have.
func check(path []byte) error {
	if bytes.IndexByte(path, 0) >= 0 {
		return ErrNUL
	}
	for segment := range bytes.SplitSeq(path, []byte{'/'}) {
		if isDots(segment) {
			return ErrDots
		}
	}
	return nil
}

// RoutePath returns a route's path as ReadPath has those of requests, to be compared with
// them: decoded once. The configuration gives it as it stands in a URL ("/a%20b/"), or as
// text ("/a b/"). A path that can be read in two ways is refused: a request for it could
// not be told from one for another route.
func RoutePath(path string) (string, error) {
	b := []byte(path)
	switch {
	case len(b) == 0 || b[0] != '/':
		return "", errors.New("does not begin with a slash")
	case !escaped(b):
		return "", errors.New("has a per cent sign that is not followed by two hexadecimal digits; write %25 for the sign itself")
	case strings.Contains(path, "//"):
		return "", errors.New("has two slashes in a row, which are one to most servers")
	}
	r, _, err := ReadPath(b, nil)
	switch {
	case errors.Is(err, ErrDots):
		return "", errors.New(`has a segment that is "." or "..": such requests are refused`)
	case err != nil:
		return "", err
	case bytes.ContainsFunc(r.Strict, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return "", errors.New("has a control character")
	case !bytes.Equal(r.Strict, r.Loose):
		return "", errors.New("can be read in two ways: it has a parameter (;), a backslash, an encoded slash, ? or #, something encoded twice, or a segment with a blank at an end of it or a dot behind it")
	}
	return string(r.Strict), nil
}
