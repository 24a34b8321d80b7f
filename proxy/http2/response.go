package http2

import (
	"sallyport/proxy/message"
	"sallyport/proxy/message/syntax"
)

// parseResponse makes a head of a field section, for a call whose final head has
// not come (RFC 9113 §8.3.2).
func (s *stream) parseResponse(b *block, end bool) (*message.Response, error) {
	switch {
	case b.large:
		return nil, malformed("head too large")
	case len(b.fields) == 0 || string(b.fields[0].Name) != ":status":
		return nil, malformed(":status missing")
	}
	status, ok := parseStatus(b.fields[0].Value)
	if !ok || end && status < 200 {
		return nil, malformed(":status wrong")
	}
	r := &message.Response{Status: status, Length: message.Unknown}
	length := int64(message.Unknown)
	r.Fields = make([]message.Field, 0, len(b.fields)-1)
	for _, f := range b.fields[1:] {
		if !validName(f.Name) || !validValue(f.Value) {
			return nil, malformed("field with bytes that must not be there")
		}
		switch f.ID {
		case message.Connection, message.KeepAlive, message.ProxyConnection, message.TransferEncoding, message.Upgrade:
			return nil, malformed("connection-specific field")
		case message.ProxyAuthenticate, message.ProxyAuthorization, message.HTTP2Settings,
			message.TE, message.Host, message.Expect:
			// Not end to end, or of no meaning in an answer.
		case message.ContentLength:
			n, ok := parseLength(f.Value)
			if !ok || length >= 0 {
				return nil, malformed("content-length that is no number, or there twice")
			}
			length = n
		default:
			r.Fields = append(r.Fields, f)
		}
	}
	return r, s.setAnswer(r, length, end)
}

// setAnswer says what body follows the head.
func (s *stream) setAnswer(r *message.Response, length int64, end bool) error {
	switch {
	case r.Status < 200:
		r.Bodiless = true
		return nil
	case r.Status == 204 && length > 0:
		return malformed("content-length of a 204")
	case s.tunnel && r.Status < 300:
		s.headless = false
		return nil
	}
	s.headless = false
	if s.bodiless || r.Status == 204 || r.Status == 304 {
		r.Bodiless = true
		s.declared = 0
		if r.Length = length; r.Status == 204 {
			r.Length = message.Unknown
		}
		return nil
	}
	s.declared = length
	r.Length = length
	switch {
	case end && length < 0:
		r.Bodiless = true // an answer of gRPC's that is trailers alone, say
	case !end && length == 0:
		r.Length = message.Unknown // trailers may come
	}
	return nil
}

// parseStatus reads a status. 101 does not exist in HTTP/2 (RFC 9113 §8.6).
func parseStatus(b []byte) (int, bool) {
	if len(b) != 3 || !syntax.All(b, syntax.Digit) {
		return 0, false
	}
	n := int(b[0]-'0')*100 + int(b[1]-'0')*10 + int(b[2]-'0')
	return n, n >= 100 && n != 101
}
