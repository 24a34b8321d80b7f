// Package printable makes what tokens, certificates and vendors' libraries say of
// themselves fit for a terminal. They may hold anything: control sequences that a
// terminal obeys, marks that turn the direction of writing.
package printable

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text is text that a terminal shows and does not obey. Line ends stay; a tab, which
// breaks columns, is a blank.
func Text(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			return r
		case r == '\t':
			return ' '
		}
		return unicode.ReplacementChar
	}, text)
}

// JSON is a writer of whole texts of JSON. It writes as \uNNNN what a terminal
// may obey or not show and encoding/json writes as it is: DEL, the control characters
// U+0080 to U+009F, marks that turn the direction of writing. Certificates' subjects
// and tokens' labels may hold any. The text means the same.
type JSON struct{ io.Writer }

// Write implements io.Writer.
func (w JSON) Write(text []byte) (int, error) {
	if !printableASCII(text) {
		if n, err := w.Writer.Write(escapeUnprintable(text)); err != nil {
			return min(n, len(text)), err
		}
		return len(text), nil
	}
	return w.Writer.Write(text)
}

// printableASCII reports whether text is ASCII without DEL. What is below a blank is
// white space between values: encoding/json escapes it within strings.
func printableASCII(text []byte) bool {
	for _, c := range text {
		if c >= 0x7f {
			return false
		}
	}
	return true
}

// escapeUnprintable returns JSON of the same meaning. Outside of strings there is only ASCII.
func escapeUnprintable(text []byte) []byte {
	escaped := make([]byte, 0, 2*len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r < 0x7f, unicode.IsPrint(r):
			escaped = append(escaped, text[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
		text = text[n:]
	}
	return escaped
}
