package syntax

import "bytes"

// Target checks a path with perhaps a query, and returns it as it is sent on:
// itself mostly, or a copy in which octets are encoded that servers differ in. ok is
// false for one that is refused. An escape in the path, where backends decode it to
// find something, must be one; in a query clients send a per cent sign alone too.
func Target(b []byte) (target []byte, ok bool) {
	if len(b) == 0 || b[0] != '/' {
		return nil, false
	}
	n := Span(b, Path)
	if n == len(b) || b[n] == '?' && All(b[n:], Query) {
		return b, escaped(b[:n])
	}
	return encode(b)
}

// escaped reports whether each per cent sign has two hexadecimal digits behind it.
func escaped(path []byte) bool {
	for {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return true
		}
		if len(path) < i+3 || Classes[path[i+1]]&Classes[path[i+2]]&Hex == 0 {
			return false
		}
		path = path[i+3:]
	}
}

func encode(b []byte) ([]byte, bool) {
	const digits = "0123456789ABCDEF"
	plain, encoded := Path, encodedPath
	out := make([]byte, 0, len(b)+64)
	for i, c := range b {
		switch {
		case c == '?' && plain == Path:
			if !escaped(b[:i]) {
				return nil, false
			}
			plain, encoded = Query, encodedQuery
			out = append(out, c)
		case Classes[c]&plain != 0:
			out = append(out, c)
		case Classes[c]&encoded != 0:
			out = append(out, '%', digits[c>>4], digits[c&15])
		default:
			return nil, false
		}
	}
	return out, plain == Query || escaped(b)
}
