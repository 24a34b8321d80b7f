package http2

import (
	"bytes"

	"sallyport/proxy/message"
	"sallyport/proxy/message/syntax"
)

// refusal is a request that is well-formed, and answered here.
type refusal int

func (r refusal) Error() string {
	switch r {
	case refuseName:
		return "field name with an underscore"
	case refuseLarge:
		return "head too long"
	case refuseScheme:
		return "scheme is not the connection's"
	case refuseStream:
		return "too many streams at once"
	case refuseExpects:
		return "unknown expectation"
	}
	return "unknown kind of tunnel"
}

const (
	refuseName    refusal = 400
	refuseScheme  refusal = 421 // RFC 9110 §7.4
	refuseLarge   refusal = 431 // RFC 6585 §5
	refuseExpects refusal = 417 // RFC 9110 §10.1.1
	refuseConnect refusal = 501 // RFC 8441 §4

	// refuseStream is not answered, but reset with REFUSED_STREAM: its client may make it
	// again when others are over (RFC 9113 §5.1.2, §8.7).
	refuseStream refusal = 429
)

// pseudo are the pseudo-fields of a request (RFC 9113 §8.3.1). nil is one that
// is not there.
type pseudo struct{ method, scheme, authority, path, protocol []byte }

func (p *pseudo) set(f message.Field) error {
	var to *[]byte
	switch string(f.Name) {
	case ":method":
		to = &p.method
	case ":scheme":
		to = &p.scheme
	case ":authority":
		to = &p.authority
	case ":path":
		to = &p.path
	case ":protocol":
		to = &p.protocol
	default:
		return malformed("unknown pseudo-field")
	}
	if *to != nil {
		return malformed("pseudo-field twice")
	}
	if len(f.Value) == 0 {
		return malformed("empty pseudo-field")
	}
	*to = f.Value
	return nil
}

// parseRequest makes s.req of a field section. The error is a *streamError for a
// request that is malformed (RFC 9113 §8.1.1), so that nothing passes which
// HTTP/1.1 would read in another way, or a refusal.
func (s *stream) parseRequest(b *block, end bool) error {
	if b.large {
		return refuseLarge
	}
	fields := b.fields
	var p pseudo
	for len(fields) > 0 && len(fields[0].Name) > 0 && fields[0].Name[0] == ':' {
		if err := p.set(fields[0]); err != nil {
			return err
		}
		fields = fields[1:]
	}
	s.req = message.Request{Length: message.Unknown, Major: 2}
	h := sorter{s: s, length: message.Unknown}
	for _, f := range fields {
		if err := h.take(f); err != nil {
			return err
		}
	}
	if h.cookies > 1 && s.c.joined+h.size > maxJoined {
		return refuseLarge
	}
	h.joinCookies()
	s.req.Fields = s.fields
	if err := s.setTarget(&p, h.host); err != nil {
		return err
	}
	return s.setBody(&h, end)
}

// sorter sorts a request's fields into those that are end to end and those that
// say something about the message.
type sorter struct {
	s       *stream
	host    []byte
	length  int64
	cookies int // how many crumbs
	crumb   int // where in s.fields the first one is
	size    int
	expects refusal
}

func (h *sorter) take(f message.Field) error {
	if !validName(f.Name) || !validValue(f.Value) {
		return malformed("field with bytes that must not be there")
	}
	if !h.s.c.cfg.nameOK(f.Name) {
		return refuseName
	}
	r := &h.s.req
	switch f.ID {
	case message.Connection, message.KeepAlive, message.ProxyConnection, message.TransferEncoding, message.Upgrade:
		return malformed("connection-specific field") // RFC 9113 §8.2.2
	case message.ProxyAuthenticate, message.ProxyAuthorization, message.HTTP2Settings:
		return nil // between the client and this proxy
	case message.TE:
		if string(f.Value) != "trailers" {
			return malformed("te that is not trailers")
		}
		r.Trailers = true
		return nil
	case message.Host:
		if h.host != nil || len(f.Value) == 0 {
			return malformed("host empty or twice")
		}
		h.host = f.Value
		return nil
	case message.ContentLength:
		n, ok := parseLength(f.Value)
		if !ok || h.length >= 0 {
			return malformed("content-length that is no number, or there twice")
		}
		h.length = n
		return nil
	case message.Expect:
		if !bytes.EqualFold(f.Value, []byte("100-continue")) {
			h.expects = refuseExpects
		}
		r.Expects = true
		return nil
	case message.Cookie:
		h.size += len(f.Value) + 2
		if h.cookies++; h.cookies == 1 {
			h.crumb = len(h.s.fields)
		}
	}
	h.s.fields = append(h.s.fields, f)
	return nil
}

// joinCookies makes one field of a cookie that came in crumbs (RFC 9113 §8.2.3).
func (h *sorter) joinCookies() {
	if h.cookies < 2 {
		return
	}
	s := h.s
	if cap(s.arena) < h.size {
		s.arena = make([]byte, 0, h.size)
	}
	value, kept := s.arena[:0], s.fields[:h.crumb+1]
	for i, f := range s.fields[h.crumb:] {
		switch {
		case f.ID != message.Cookie:
			kept = append(kept, f)
			continue
		case i > 0:
			value = append(value, "; "...)
		}
		value = append(value, f.Value...)
	}
	s.arena, s.fields = value, kept
	s.fields[h.crumb].Value = value
	s.joined = h.size
	s.c.joined += h.size
}

// setTarget checks the pseudo-fields and makes the request's target of them.
func (s *stream) setTarget(p *pseudo, host []byte) error {
	if !validMethod(p.method) {
		return malformed(":method missing or no token")
	}
	r := &s.req
	r.Method, r.Authority, r.Path = p.method, p.authority, p.path
	var target, named bool
	if r.Path, target = syntax.Target(p.path); string(p.path) == "*" && string(p.method) == "OPTIONS" {
		r.Path, target = p.path, true
	}
	if r.Authority, named = syntax.Authority(p.authority); p.authority == nil {
		r.Authority, named = syntax.Authority(host)
	} else if other, ok := syntax.Authority(host); host != nil && (!ok || !bytes.EqualFold(other, r.Authority)) {
		return malformed("host is not :authority")
	}
	connect := string(p.method) == "CONNECT"
	switch {
	case connect && p.protocol == nil:
		if p.scheme != nil || p.path != nil || !named {
			return malformed("CONNECT with a wrong target") // RFC 9113 §8.5
		}
		return refuseConnect
	case p.protocol != nil && (!connect || p.authority == nil):
		return malformed(":protocol without CONNECT")
	case p.protocol != nil && !validMethod(p.protocol):
		return malformed(":protocol that is no token")
	case string(p.scheme) != "https" && string(p.scheme) != "http":
		return malformed(":scheme missing or wrong")
	case !target:
		return malformed(":path missing or wrong")
	case !named:
		return malformed(":authority missing or wrong")
	}
	if s.c.cfg.Secure && string(p.scheme) != "https" {
		return refuseScheme
	}
	if p.protocol != nil {
		if !bytes.EqualFold(p.protocol, []byte("websocket")) {
			return refuseConnect
		}
		r.Protocol = websocket
	}
	return nil
}

var websocket = []byte("websocket")

// nameOK says whether a name is free of underscores or may have them.
func (c *Config) nameOK(name []byte) bool {
	return c.Underscores || bytes.IndexByte(name, '_') < 0
}

// setBody says what body follows. A tunnel's length is not known.
func (s *stream) setBody(h *sorter, end bool) error {
	r := &s.req
	switch {
	case r.Protocol != nil && (h.length >= 0 || end):
		return malformed("extended CONNECT with a body, or without a way to speak")
	case end && h.length > 0:
		return malformed("content-length without a body")
	case end:
		r.Length = 0
		r.Expects = false
		return nil
	}
	if h.expects != 0 {
		return h.expects
	}
	r.Length = h.length
	s.declared = h.length
	s.expects = r.Expects && r.Protocol == nil
	r.Expects = s.expects
	return nil
}

// parseTrailers gives the fields of a trailer section. They say nothing about
// the framing any more, so those that would are malformed as the
// pseudo-fields are (RFC 9110 §6.5.1).
func (c *Config) parseTrailers(b *block) ([]message.Field, error) {
	if b.large {
		return nil, malformed("trailers too large")
	}
	for _, f := range b.fields {
		if !validName(f.Name) || !validValue(f.Value) {
			return nil, malformed("trailer with bytes that must not be there")
		}
		if !c.nameOK(f.Name) {
			return nil, malformed("trailer with an underscore in its name")
		}
		switch f.ID {
		case message.Connection, message.KeepAlive, message.ProxyConnection, message.TransferEncoding, message.Upgrade,
			message.ProxyAuthenticate, message.ProxyAuthorization, message.HTTP2Settings,
			message.TE, message.Host, message.ContentLength, message.Expect:
			return nil, malformed("trailer that belongs to the head")
		}
	}
	if len(b.fields) == 0 {
		return nil, nil
	}
	return append([]message.Field(nil), b.fields...), nil
}
