package http2

import (
	"bytes"

	"sallyport/proxy/message"
	"sallyport/proxy/message/syntax"
)

// pseudo are the pseudo-fields of a request (RFC 9113 §8.3.1). nil is one that
// is not there.
type pseudo struct{ method, scheme, authority, path, protocol []byte }

func (p *pseudo) set(f *message.Field) *refusal {
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
		return refusePseudo
	}
	if *to != nil {
		return refusePseudo
	}
	if len(f.Value) == 0 {
		return refusePseudo
	}
	*to = f.Value
	return nil
}

// pseudo sets p to the pseudo-fields that a section begins with, and returns its other fields.
func (b *block) pseudo(p *pseudo) (fields []message.Field, no *refusal) {
	for i := range b.fields {
		f := &b.fields[i]
		if len(f.Name) == 0 || f.Name[0] != ':' {
			return b.fields[i:], nil
		}
		if no = p.set(f); no != nil {
			return nil, no
		}
	}
	return nil, nil
}

// parseRequest makes s.req of a field section, or says why it is refused; then the
// request's method, authority and path are as they came. Nothing
// passes that HTTP/1.1 would read in another way (RFC 9113 §8.1.1, §10.3).
func (s *stream) parseRequest(b *block, end bool) *refusal {
	var p pseudo
	fields, no := b.pseudo(&p)
	r := &s.req // which is empty
	r.Method, r.Authority, r.Path, r.Length, r.Major = p.method, p.authority, p.path, message.Unknown, 2
	switch {
	case b.large:
		return s.c.tooLarge(b, &p)
	case no != nil:
		return no
	}
	h := sorter{s: s, length: message.Unknown}
	for _, f := range fields {
		if no := h.take(f); no != nil {
			return no
		}
	}
	if b.crumbs > 1 {
		if no := s.joinCookie(b); no != nil {
			return no
		}
	}
	s.req.Fields = s.fields
	if no := s.setTarget(&p, h.host); no != nil {
		return no
	}
	return s.setBody(&h, end)
}

// tooLarge says which limit a head is beyond. It is the target's where HTTP/1.1's first line
// would be.
func (c *conn) tooLarge(b *block, p *pseudo) *refusal {
	switch {
	case len(p.method)+max(b.long, len(p.path))+len("  HTTP/1.1\r\n") > c.cfg.MaxHeaderBytes:
		return refuseLong
	case b.size > c.cfg.MaxHeaderBytes:
		return refuseLarge
	}
	return refuseFields
}

// sorter sorts a request's fields into those that are end to end and those that
// say something about the message.
type sorter struct {
	s      *stream
	host   []byte
	length int64
}

func (h *sorter) take(f message.Field) *refusal {
	if !validName(f.Name) {
		if len(f.Name) > 0 && f.Name[0] == ':' {
			return refusePseudo
		}
		return refuseCapital
	}
	if !validValue(f.Value) {
		return refuseValue
	}
	if !h.s.c.cfg.nameOK(f.Name) {
		return refuseName
	}
	r := &h.s.req
	switch f.ID {
	case message.Connection, message.KeepAlive, message.ProxyConnection, message.TransferEncoding, message.Upgrade:
		return refuseHop
	case message.ProxyAuthenticate, message.ProxyAuthorization, message.HTTP2Settings:
		return nil // between the client and this proxy
	case message.TE:
		if string(f.Value) != "trailers" {
			return refuseTE
		}
		r.Trailers = true
		return nil
	case message.Host:
		if h.host != nil {
			return refuseTwoHosts
		}
		h.host = f.Value
		return nil
	case message.ContentLength:
		n, ok := parseLength(f.Value)
		if h.length >= 0 {
			return refuseTwoLengths
		}
		if !ok {
			return refuseLength
		}
		h.length = n
		return nil
	case message.Expect:
		if !bytes.EqualFold(f.Value, []byte("100-continue")) {
			return refuseExpects
		}
		r.Expects = true
		return nil
	}
	h.s.fields = append(h.s.fields, f)
	return nil
}

// joinCookie makes one field of a cookie that came in crumbs. What all streams of a
// connection hold of that is bounded, since HPACK makes it cheap to send.
func (s *stream) joinCookie(b *block) *refusal {
	if !validValue(b.cookie) {
		return refuseValue
	}
	if s.c.joined+len(b.cookie) > maxJoined {
		return refuseLarge
	}
	s.joined = len(b.cookie)
	s.c.joined += s.joined
	s.arena = append(s.arena[:0], b.cookie...)
	for i := range s.fields {
		if s.fields[i].ID == message.Cookie {
			s.fields[i].Value = s.arena
		}
	}
	return nil
}

// setTarget checks the pseudo-fields and makes the request's target of them.
func (s *stream) setTarget(p *pseudo, host []byte) *refusal {
	r := &s.req
	r.Method = p.method
	connect := string(p.method) == "CONNECT"
	switch {
	case p.method == nil:
		return refusePseudo
	case !validMethod(p.method):
		return refuseMethod
	case p.protocol != nil && !connect:
		return refusePseudo
	case connect && p.protocol == nil:
		return s.setConnect(p, host) // RFC 9113 §8.5
	case string(p.scheme) != "https" && string(p.scheme) != "http", p.path == nil:
		return refusePseudo
	}
	var ok bool
	if r.Path, ok = syntax.Target(p.path); !ok {
		if r.Path = p.path; string(p.path) != "*" || string(p.method) != "OPTIONS" {
			return refuseTarget
		}
	}
	if err := s.setAuthority(p.authority, host); err != nil {
		return err
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

// setConnect takes a CONNECT as HTTP/1.1 has it, for the handler to refuse.
func (s *stream) setConnect(p *pseudo, host []byte) *refusal {
	if p.scheme != nil || p.path != nil {
		return refusePseudo
	}
	if bytes.LastIndexByte(p.authority, ':') < 0 {
		return refuseTarget
	}
	return s.setAuthority(p.authority, host)
}

// setAuthority takes :authority or Host, which must be the same where there are both.
func (s *stream) setAuthority(authority, host []byte) *refusal {
	r := &s.req
	if authority == nil {
		authority, host = host, nil
	}
	if authority == nil {
		return refuseNoHost
	}
	r.Authority = authority
	named, ok := syntax.Authority(authority)
	if !ok {
		return refuseHost
	}
	if r.Authority = named; host == nil {
		return nil
	}
	if host, ok = syntax.Authority(host); !ok {
		return refuseHost
	}
	if !bytes.EqualFold(host, r.Authority) {
		return refuseAuthority
	}
	return nil
}

var websocket = []byte("websocket")

// nameOK says whether a name is free of underscores or may have them.
func (c *Config) nameOK(name []byte) bool {
	return c.Underscores || bytes.IndexByte(name, '_') < 0
}

// setBody says what body follows. A tunnel's length is not known.
func (s *stream) setBody(h *sorter, end bool) *refusal {
	r := &s.req
	switch {
	case r.Protocol != nil && (h.length >= 0 || end):
		return refuseTunnel
	case end && h.length > 0:
		return refuseShort
	case end:
		r.Length = 0
		r.Expects = false
		return nil
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
