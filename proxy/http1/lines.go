package http1

import "bytes"

// lines cuts the unread part of an input into lines, as they come.
type lines struct {
	pos  int // where the next line begins
	scan int // its end was looked for up to here

	// lax takes a line that ends with LF alone, or with more than one CR before it, which
	// has one meaning (RFC 9112 §2.2). For what is written anew, and from backends alone.
	lax bool
}

func (l *lines) from(in *input) { l.pos, l.scan = in.r, in.r }

// next returns the next line without its CRLF. more is true while it has not
// come as a whole.
func (l *lines) next(in *input) (line []byte, more bool, err *Error) {
	b := in.buf.b[:in.w]
	i := bytes.IndexByte(b[l.scan:], '\n')
	if i < 0 {
		l.scan = len(b)
		return nil, true, nil
	}
	end := l.scan + i
	if l.lax {
		start, next := l.pos, end+1
		for end > start && b[end-1] == '\r' {
			end--
		}
		l.pos, l.scan = next, next
		return b[start:end], false, nil
	}
	if end == l.pos || b[end-1] != '\r' {
		return nil, false, errBareLF
	}
	line = b[l.pos : end-1]
	l.pos, l.scan = end+1, end+1
	return line, false, nil
}
