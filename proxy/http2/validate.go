package http2

import "sallyport/proxy/message/syntax"

func validName(b []byte) bool { return len(b) > 0 && syntax.All(b, syntax.Lower) }

func validMethod(b []byte) bool { return syntax.Method(b) }

// validValue refuses also blanks at either end, which HTTP/1.1 would take off.
func validValue(b []byte) bool {
	if n := len(b); n > 0 && (blank(b[0]) || blank(b[n-1])) {
		return false
	}
	return syntax.Value(b)
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// parseLength reads a Content-Length: digits and nothing else, of a size that
// can be counted.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 || !syntax.All(b, syntax.Digit) {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		n = n*10 + int64(c-'0')
	}
	return n, true
}
