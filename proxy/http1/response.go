package http1

import (
	"bytes"

	"sallyport/proxy/message"
	"sallyport/proxy/message/syntax"
)

// responseHead reads a response's head from an input, as its lines come.
//
// Clients are held to the letter, since a proxy before us may read a request otherwise. What
// a backend says has no other reader than this one, and is written anew: what has one
// meaning is taken, though it should not be sent, and all else is refused.
type responseHead struct {
	facts
	lines
	cfg    *ClientConfig
	status int
	reason []byte
	minor  uint8
	foldAt int    // where the last field's value begins; 0: no line may continue it
	kept   []byte // the value of Keep-Alive
}

// begin starts, or starts again where the input's buffer was replaced.
func (h *responseHead) begin(in *input) {
	*h = responseHead{cfg: h.cfg}
	h.length = -1
	h.lax = true
	h.from(in)
	in.buf.forget()
}

// parse goes on with what has come, and says whether more must come.
func (h *responseHead) parse(in *input) (bool, *Error) {
	for {
		line, more, err := h.next(in)
		switch {
		case err != nil:
			return false, err
		case more && in.w-in.r > h.cfg.MaxHead, h.pos-in.r > h.cfg.MaxHead:
			return false, errHeadLong
		case more:
			return true, nil
		case h.status == 0:
			err = h.first(line)
		case len(line) == 0:
			return false, nil
		default:
			err = h.field(in, line)
		}
		if err != nil {
			return false, err
		}
	}
}

// first takes the status line. The space before a reason that is not there is left
// out by some, and a second one is set before the status by others; a minor version above 1
// is read as 1 (RFC 9110 §2.5). A reason that could not be written is left out.
func (h *responseHead) first(line []byte) *Error {
	const version = len("HTTP/1.1")
	if len(line) <= version || string(line[:7]) != "HTTP/1." || !isDigit(line[7]) || line[version] != ' ' {
		return errStatusLine
	}
	h.minor = min(line[7]-'0', 1)
	rest := bytes.TrimLeft(line[version:], " ")
	if len(rest) < 3 {
		return errStatusLine
	}
	for _, c := range rest[:3] {
		if !isDigit(c) {
			return errStatusLine
		}
		h.status = h.status*10 + int(c-'0')
	}
	if rest = rest[3:]; len(rest) > 0 && rest[0] == '.' { // IIS says 403.1 and the like
		rest = bytes.TrimLeft(rest[1:], "0123456789")
	}
	if h.status < 100 || len(rest) > 0 && rest[0] != ' ' {
		return errStatusLine
	}
	if len(rest) > 0 && isValue(rest) {
		h.reason = rest[1:]
	}
	return nil
}

// field takes a field line.
func (h *responseHead) field(in *input, line []byte) *Error {
	if line[0] == ' ' || line[0] == '\t' {
		return h.unfold(in, line)
	}
	h.foldAt = 0
	var f message.Field
	skip, err := cutField(&f, line)
	if err != nil {
		return err
	}
	if h.count++; h.count > h.cfg.MaxFields {
		return errManyFields
	}
	if skip {
		return nil
	}
	keep := f.ID == message.Other // as most are
	if !keep {
		keep, err = h.takeOne(f)
	}
	if keep {
		in.buf.fields = append(in.buf.fields, f)
		if f.ID != message.Connection {
			h.foldAt = offsetIn(in.buf.b, f.Value)
		}
	}
	return err
}

// takeOne is take for what backends say otherwise than clients: the same length more than
// once, and the coding that is none (RFC 9112 §6.3, §7).
func (h *responseHead) takeOne(f message.Field) (keep bool, err *Error) {
	switch f.ID {
	case message.Expect:
		return false, nil // it asks for nothing here
	case message.ContentLength:
		for list, more := f.Value, true; more; {
			var one []byte
			one, list, more = bytes.Cut(list, comma)
			n, err := parseLength(trim(one))
			if err != nil {
				return false, err
			}
			if h.length >= 0 && h.length != n {
				return false, errTwoLengths
			}
			h.length = n
		}
		return false, nil
	case message.TransferEncoding:
		if len(f.Value) == 0 || fold(f.Value, "identity") {
			return false, nil
		}
	case message.KeepAlive:
		h.kept = f.Value
	}
	return h.take(f)
}

// unfold joins a line that continues the field before it (RFC 9112 §5.2). Where that is one
// that frames the message, or is not passed on, it is refused.
func (h *responseHead) unfold(in *input, line []byte) *Error {
	n := len(in.buf.fields)
	if h.foldAt == 0 || n == 0 {
		return errFold
	}
	if h.count++; h.count > h.cfg.MaxFields {
		return errManyFields
	}
	if line = trim(line); !clean(line) {
		return errValue
	}
	last := &in.buf.fields[n-1]
	end := h.foldAt + len(last.Value)
	if len(last.Value) > 0 && len(line) > 0 {
		in.buf.b[end] = ' ' // there were a line's end and a blank
		end++
	}
	end += copy(in.buf.b[end:], line)
	last.Value = in.buf.b[h.foldAt:end]
	return nil
}

// offsetIn says where a part of b begins.
func offsetIn(b, part []byte) int { return cap(b) - cap(part) }

// cutField cuts a field line of a backend's. White space before the colon is taken away
// (RFC 9112 §5.1), and skip is true for a name that is none: nobody could be told of it.
func cutField(f *message.Field, line []byte) (skip bool, err *Error) {
	n := syntax.Span(line, isToken)
	if n == len(line) || n == 0 || line[n] != ':' {
		if f.Name, n, err = cutOddName(line); err != nil {
			return false, err
		}
		skip = len(f.Name) == 0 || !syntax.All(f.Name, isToken)
	} else {
		f.Name = line[:n]
	}
	f.Value = trim(line[n+1:])
	if !isValue(f.Value) && !clean(f.Value) {
		return false, errValue
	}
	f.ID = message.IDOf(f.Name)
	return skip, nil
}

// cutOddName cuts off what stands before a colon and is no name as it is.
func cutOddName(line []byte) (name []byte, colon int, err *Error) {
	if colon = bytes.IndexByte(line, ':'); colon <= 0 {
		return nil, 0, errName
	}
	name = trim(line[:colon])
	if !isValue(name) || bytes.IndexByte(name, '\t') >= 0 {
		return nil, 0, errName
	}
	return name, colon, nil
}

// clean makes spaces of control characters, as a recipient may (RFC 9110 §5.5). It is false
// for CR, and for NUL, at which some end a value.
func clean(value []byte) bool {
	for i, c := range value {
		switch {
		case c == '\r', c == 0:
			return false
		case c < ' ' && c != '\t', c == 0x7f:
			value[i] = ' '
		}
	}
	return true
}

// finish makes r of what parse found, as the answer to a request (RFC 9112
// §6.3), and says how its body is framed.
func (h *responseHead) finish(in *input, r *message.Response, head bool, protocol []byte) (kind kind, err *Error) {
	*r = message.Response{Status: h.status, Reason: h.reason}
	chunked, err := h.chunked(1) // whatever the version: it is written anew
	if err != nil {
		return 0, err
	}
	r.Fields, _ = h.sift(in.buf.fields)
	r.Length = message.Unknown
	if h.length >= 0 {
		r.Length = h.length
	}
	switch {
	case h.status == 101:
		if len(protocol) == 0 || !h.upgrade || h.switches != 1 || !fold(h.switchTo, string(protocol)) || h.minor == 0 {
			return 0, errSwitch
		}
		r.Protocol, r.Length = protocol, 0
		return raw, nil
	case h.status < 200, h.status == 204:
		r.Length, r.Bodiless = 0, true
		return none, nil
	case head, h.status == 304:
		r.Bodiless = true
		return none, nil
	case chunked:
		return inChunks, nil
	case h.length >= 0:
		return counted, nil
	}
	return raw, nil
}

// persists says whether the connection may serve another call, once the answer
// is whole. A body, or the promise of one, where none may be makes it doubtful what
// follows.
func (h *responseHead) persists() bool {
	if (h.status < 200 || h.status == 204) && (h.length > 0 || h.codings > 0) || h.minor == 0 && h.codings > 0 {
		return false
	}
	return !h.close && (h.minor > 0 || h.keepAlive)
}
