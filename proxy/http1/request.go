package http1

import (
	"bytes"

	"sallyport/proxy/message"
	"sallyport/proxy/message/syntax"
)

var websocket = []byte("websocket")

// requestHead reads a request's head from an input, as its lines come.
type requestHead struct {
	facts
	lines
	cfg     *Config
	method  []byte
	target  []byte
	minor   uint8
	skipped bool // an empty line before the head
}

// begin starts, or starts again where the input's buffer was replaced.
func (h *requestHead) begin(in *input) {
	*h = requestHead{cfg: h.cfg, minor: 1}
	h.length = -1
	h.from(in)
	in.buf.forget()
}

// parse goes on with what has come, and says whether more must come.
func (h *requestHead) parse(in *input) (bool, *Error) {
	for {
		line, more, err := h.next(in)
		switch {
		case err != nil:
			return false, err
		case more:
			return true, h.incomplete(in)
		case h.pos-in.r > h.cfg.MaxHead:
			return false, h.tooLong(line)
		case h.method == nil:
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

// incomplete refuses early what cannot become a request any more.
func (h *requestHead) incomplete(in *input) *Error {
	line := in.buf.b[h.pos:in.w]
	switch {
	case h.method != nil:
	case len(line) > 0 && line[0] != '\r' && classes[line[0]]&isToken == 0:
		return errGarbage
	}
	if in.w-in.r > h.cfg.MaxHead {
		return h.tooLong(line)
	}
	return nil
}

// tooLong is for a head that is beyond its limit within line. In the first one that is the
// target's doing, of which the beginning is kept for the log.
func (h *requestHead) tooLong(line []byte) *Error {
	if h.method != nil {
		return errHeadLong
	}
	method, target, ok := bytes.Cut(line, []byte{' '})
	if !ok || !syntax.Method(method) {
		return errGarbage
	}
	h.method, h.target = method, target
	return errTargetLong
}

func (h *requestHead) first(line []byte) *Error {
	if len(line) == 0 && !h.skipped {
		h.skipped = true // RFC 9112 §2.2
		return nil
	}
	method, rest, _ := bytes.Cut(line, []byte{' '})
	target, version, ok := bytes.Cut(rest, []byte{' '})
	if !ok || len(target) == 0 {
		return errGarbage // HTTP/0.9 too
	}
	if h.method, h.target = method, target; !syntax.Method(method) {
		return errMethod
	}
	var err *Error
	h.minor, err = parseVersion(version)
	return err
}

// parseVersion returns the 0 or 1 of HTTP/1.0 and HTTP/1.1. A higher minor version is
// served as 1.1, the highest that is known (RFC 9110 §2.5).
func parseVersion(b []byte) (minor uint8, err *Error) {
	switch string(b) {
	case "HTTP/1.1":
		return 1, nil
	case "HTTP/1.0":
		return 0, nil
	}
	if len(b) == len("HTTP/1.1") && string(b[:5]) == "HTTP/" && isDigit(b[5]) && b[6] == '.' && isDigit(b[7]) {
		if b[5] == '1' {
			return 1, nil
		}
		return 1, errVersionOther
	}
	return 1, errVersion
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (h *requestHead) field(in *input, line []byte) *Error {
	f, err := parseField(line, h.cfg.Underscores)
	if err != nil {
		return err
	}
	if h.count++; h.count > h.cfg.MaxFields {
		return errManyFields
	}
	keep, err := h.take(f)
	if keep {
		in.buf.fields = append(in.buf.fields, f)
	}
	return err
}

// line is what a log tells of a head that was refused.
func (h *requestHead) line(in *input) *message.Request {
	r := &message.Request{Method: h.method, Authority: h.host, Path: h.target, Major: 1, Minor: h.minor}
	if h.method == nil {
		r.Path, _, _ = bytes.Cut(in.unread(), []byte{'\r'})
	}
	return r
}

// finish makes r of what parse found.
func (h *requestHead) finish(in *input, r *message.Request) *Error {
	*r = message.Request{Method: h.method, Major: 1, Minor: h.minor, Trailers: h.trailers}
	if h.hosts > 1 {
		return errTwoHosts
	}
	if h.hosts == 0 && h.minor > 0 {
		return errNoHost
	}
	if h.hosts > 0 {
		var ok bool
		if r.Authority, ok = syntax.Authority(h.host); !ok {
			return errHost
		}
	}
	if err := takeTarget(r, h.target, h.cfg.Secure); err != nil {
		return err
	}
	chunked, err := h.chunked(h.minor)
	if err != nil {
		return err
	}
	r.Length = max(h.length, 0)
	if chunked {
		r.Length = message.Unknown
	}
	if r.Path == nil && r.Length != 0 {
		return errConnectBody
	}
	r.Fields, r.Named = h.sift(in.buf.fields)
	r.Expects = h.expects && h.minor > 0 && r.Length != 0
	r.LastOfOne = h.close || h.minor == 0 && !h.keepAlive || r.Path == nil
	h.takeUpgrade(r)
	return nil
}

// takeUpgrade lets through the one upgrade that is passed on. Any other is
// dropped, as RFC 9110 §7.8 allows: behind h2c a client would talk to the
// backend alone.
func (h *requestHead) takeUpgrade(r *message.Request) {
	if h.upgrade && h.switches == 1 && fold(h.switchTo, "websocket") &&
		h.minor > 0 && string(r.Method) == "GET" && r.Length == 0 && !r.LastOfOne {
		r.Protocol = websocket
	}
}
