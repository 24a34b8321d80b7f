package http1

import (
	"bytes"

	"sallyport/proxy/message"
	"sallyport/proxy/message/syntax"
)

// parseField cuts a field line. Its name is a token, with the colon right
// behind it; a line that begins with white space would continue the one before
// (obs-fold, RFC 9112 §5.2), which is refused like all else that parsers
// disagree on.
func parseField(line []byte, underscores bool) (f message.Field, err *Error) {
	n := syntax.Span(line, isToken)
	switch {
	case n == 0 && (line[0] == ' ' || line[0] == '\t'):
		return f, errFold
	case n == 0 || n == len(line) || line[n] != ':':
		return f, errName
	}
	f.Name, f.Value = line[:n], trim(line[n+1:])
	if !underscores && bytes.IndexByte(f.Name, '_') >= 0 {
		return f, errUnderscore
	}
	if !isValue(f.Value) {
		return f, errValue
	}
	f.ID = message.IDOf(f.Name)
	return f, nil
}

// maxOptions bounds the members of Connection, empty ones too: all fields are
// looked for among them.
const maxOptions = 16

// facts are what a head's fields say about its connection and framing.
type facts struct {
	host      []byte
	hosts     int
	length    int64 // -1: there is no Content-Length
	coding    []byte
	codings   int
	switchTo  []byte
	switches  int
	options   int
	close     bool
	keepAlive bool
	upgrade   bool // Connection says so
	names     bool // Connection names fields
	count     int  // of field lines
	expects   bool
	trailers  bool
}

// take notes what f says. keep is true where f is end to end, and for a
// Connection that names fields, which sift needs and takes out.
func (h *facts) take(f message.Field) (keep bool, err *Error) {
	switch f.ID {
	case message.Host:
		if h.hosts++; h.hosts == 1 {
			h.host = f.Value
		}
	case message.ContentLength:
		if h.length >= 0 {
			return false, errTwoLengths
		}
		h.length, err = parseLength(f.Value)
	case message.TransferEncoding:
		h.coding = f.Value
		h.codings++
	case message.Connection:
		return h.takeOptions(f.Value)
	case message.Upgrade:
		h.switchTo = f.Value
		h.switches++
	case message.Expect:
		if h.expects = fold(f.Value, "100-continue"); !h.expects {
			return false, errExpect
		}
	case message.TE:
		h.trailers = h.trailers || message.TokenIn(f.Value, "trailers")
	case message.KeepAlive, message.ProxyConnection, message.ProxyAuthenticate, message.ProxyAuthorization,
		message.HTTP2Settings:
	default:
		return true, nil
	}
	return false, err
}

func (h *facts) takeOptions(list []byte) (names bool, err *Error) {
	for more := true; more; {
		var option []byte
		option, list, more = bytes.Cut(list, comma)
		if h.options++; h.options > maxOptions {
			return false, errOptions
		}
		switch option = trim(option); {
		case len(option) == 0:
		case fold(option, "close"):
			h.close = true
		case fold(option, "keep-alive"):
			h.keepAlive = true
		case fold(option, "upgrade"):
			h.upgrade = true
		default:
			names = true
		}
	}
	h.names = h.names || names
	return names, nil
}

var comma = []byte{','}

// sift takes out of fields what Connection names, and Connection (RFC 9110
// §7.6.1). What a codec takes out by itself is not among them any more; what is end to end
// stays, whoever names it.
func (h *facts) sift(fields []message.Field) (kept, taken []message.Field) {
	if !h.names {
		return fields, nil
	}
	n := 0
	for i := range fields {
		if f := fields[i]; f.ID != message.Connection && (!named(fields, f.Name) || f.EndToEnd()) {
			fields[n], fields[i] = f, fields[n]
			n++
		}
	}
	kept, taken = fields[:n:n], fields[n:]
	n = 0
	for i := range taken {
		if f := taken[i]; f.ID != message.Connection {
			taken[n], taken[i] = f, taken[n]
			n++
		}
	}
	return kept, taken[:n:n]
}

// named says whether any Connection among fields names a field.
func named(fields []message.Field, name []byte) bool {
	for _, f := range fields {
		if f.ID != message.Connection {
			continue
		}
		for option := range bytes.SplitSeq(f.Value, comma) {
			if bytes.EqualFold(trim(option), name) {
				return true
			}
		}
	}
	return false
}

// parseLength takes digits alone: no sign, no list (RFC 9110 §8.6).
func parseLength(b []byte) (int64, *Error) {
	if len(b) == 0 || len(b) > 18 {
		return -1, errLength
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1, errLength
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// chunked says whether the body is. A coding that is unknown but framed by
// chunked could be passed on by others, not by us.
func (h *facts) chunked(minor uint8) (bool, *Error) {
	switch {
	case h.codings == 0:
		return false, nil
	case h.length >= 0:
		return false, errLengthCoding
	case minor == 0:
		return false, errCodingOld
	case h.codings == 1 && fold(h.coding, "chunked"):
		return true, nil
	case h.codings == 1 && endsChunked(h.coding):
		return false, errCodingUnknown
	}
	return false, errCoding
}

// endsChunked says whether a list of codings ends with chunked, which it does
// not have elsewhere.
func endsChunked(list []byte) bool {
	last := bytes.LastIndexByte(list, ',')
	return last >= 0 && fold(trim(list[last+1:]), "chunked") && !message.TokenIn(list[:last], "chunked")
}

// forbiddenTrailer says whether a field frames a message or is its connection's, which is too
// late to say behind its body (RFC 9110 §6.5.1). What else must not be there is for
// the proxy to drop.
func forbiddenTrailer(id message.FieldID) bool {
	switch id {
	case message.Connection, message.ContentLength, message.Expect, message.Host, message.HTTP2Settings, message.KeepAlive,
		message.ProxyAuthenticate, message.ProxyAuthorization, message.ProxyConnection, message.TE,
		message.TransferEncoding, message.Upgrade:
		return true
	}
	return false
}
