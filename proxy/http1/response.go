package http1

import "sallyport/proxy/message"

// responseHead reads an answer's head from an input, as its lines come.
type responseHead struct {
	facts
	lines
	cfg    *ClientConfig
	status int
	reason []byte
	minor  uint8
}

// begin starts, or starts again where the input's buffer was replaced.
func (h *responseHead) begin(in *input) {
	*h = responseHead{cfg: h.cfg}
	h.length = -1
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

// first takes the status line. The space before a reason that is not there
// is left out by some; nobody can read that in two ways.
func (h *responseHead) first(line []byte) (err *Error) {
	const begin = len("HTTP/1.1 200")
	if len(line) < begin || line[8] != ' ' {
		return errStatusLine
	}
	if h.minor, err = parseVersion(line[:8]); err != nil {
		return err
	}
	for _, c := range line[9:begin] {
		if !isDigit(c) {
			return errStatusLine
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 || h.status > 599 {
		return errStatusLine
	}
	if len(line) > begin {
		if line[begin] != ' ' || !isValue(line[begin:]) {
			return errStatusLine
		}
		h.reason = line[begin+1:]
	}
	return nil
}

func (h *responseHead) field(in *input, line []byte) *Error {
	f, err := parseField(line, true)
	if err != nil {
		return err
	}
	if h.count++; h.count > h.cfg.MaxFields {
		return errManyFields
	}
	if f.ID == message.Expect {
		return nil // it asks for nothing here
	}
	keep, err := h.take(f)
	if keep {
		in.buf.fields = append(in.buf.fields, f)
	}
	return err
}

// finish makes r of what parse found, as the answer to a request (RFC 9112
// §6.3), and says how its body is framed.
func (h *responseHead) finish(in *input, r *message.Response, head bool, protocol []byte) (kind kind, err *Error) {
	*r = message.Response{Status: h.status, Reason: h.reason}
	chunked, err := h.chunked(h.minor)
	if err != nil {
		return 0, err
	}
	r.Fields = h.sift(in.buf.fields)
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
	if (h.status < 200 || h.status == 204) && (h.length > 0 || h.codings > 0) {
		return false
	}
	return !h.close && (h.minor > 0 || h.keepAlive)
}
