package http2

import (
	"errors"
	"net/http"
	"strconv"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// refusal is why a request's head is refused: the status that it is answered with, and a
// reason for logs that holds nothing of what the client sent. All are static.
//
// Each is answered, where HTTP/2 would have the stream reset as well (RFC 9113 §8.1.1): a
// client that is told nothing but PROTOCOL_ERROR tries again, Go's at once and
// without end, by a new connection. Those that no client sends by mistake, since they
// break HTTP/2's own rules and not HTTP's, are reset behind the response.
type refusal struct {
	status int
	reason string
	reset  bool
}

func (r *refusal) Error() string { return r.reason }

var (
	refusePseudo     = &refusal{400, "pseudo-field unknown, empty, twice, or missing", true}
	refuseCapital    = &refusal{400, "malformed field name", true}
	refuseHop        = &refusal{400, "connection-specific field", true} // RFC 9113 §8.2.2
	refuseTE         = &refusal{400, "TE that is not trailers", true}
	refuseShort      = &refusal{400, "Content-Length without a body", true}
	refuseTunnel     = &refusal{400, "extended CONNECT with a body, or without a way to speak", true}
	refuseMethod     = &refusal{400, "malformed method", false}
	refuseTarget     = &refusal{400, "malformed target", false}
	refuseNoHost     = &refusal{400, "no Host", false}
	refuseHost       = &refusal{400, "malformed Host", false}
	refuseTwoHosts   = &refusal{400, "more than one Host", false}
	refuseAuthority  = &refusal{400, "the target's authority is not the Host", false}
	refuseName       = &refusal{400, "field name with an underscore", false}
	refuseValue      = &refusal{400, "control character in a field value, or white space around it", false}
	refuseLength     = &refusal{400, "malformed Content-Length", false}
	refuseTwoLengths = &refusal{400, "more than one Content-Length", false}
	refuseExpects    = &refusal{417, "unknown expectation", false}                         // RFC 9110 §10.1.1
	refuseScheme     = &refusal{421, "the target's scheme is not the connection's", false} // RFC 9110 §7.4
	refuseLarge      = &refusal{431, "head too long", false}                               // RFC 6585 §5
	refuseFields     = &refusal{431, "too many fields", false}
	refuseLong       = &refusal{414, "target too long", false}
	refuseConnect    = &refusal{501, "unknown kind of tunnel", false} // RFC 8441 §4
	refuseMemory     = &refusal{503, "memory is short", false}
	refuseStreams    = &refusal{429, "too many streams at once", true} // not answered, but reset: see takeHeaders
)

// refuseHead answers a request that no handler sees. mu is held.
func (c *ServerConn) refuseHead(s *stream, no *refusal) error {
	s.handled, s.refused = true, true
	c.appendRefusal(s, no.status)
	switch {
	case no.reset:
		return c.fault(s, malformed(no.reason))
	case s.remoteEnded:
		c.settle(s)
	default:
		c.outlast(s)
	}
	c.flushSoon()
	return c.vain(costReset)
}

// appendRefusal queues a whole response, with a text where the client's windows take
// it at once. mu is held.
func (c *conn) appendRefusal(s *stream, status int) {
	text := strconv.Itoa(status) + " " + http.StatusText(status) + "\n"
	head := message.Response{Status: status, Length: int64(len(text)), Fields: append(refusalFields,
		message.Field{ID: message.Date, Name: []byte("date"), Value: message.Now()})}
	bodiless := string(s.req.Method) == "HEAD"
	if !bodiless && (int(min(s.sendWindow, c.sendWindow)) < len(text) || len(c.senders) > 0) {
		bodiless, head.Length = true, 0
	}
	c.appendSection(s.id, bodiless, fieldsSize(head.Fields), func(b []byte) []byte { return appendResponse(b, &head) })
	if !bodiless {
		s.sendWindow -= int32(len(text))
		c.sendWindow -= int32(len(text))
		c.out.pending = frame{length: len(text), kind: http2.FrameData, flags: http2.FlagDataEndStream, id: s.id}.append(c.out.room(headLen + len(text)))
		c.out.pending = append(c.out.pending, text...)
	}
	s.headSent, s.localEnded = true, true
}

// refusalFields are those of HTTP/1.1's refusals, without the date. Nothing is appended in
// their own memory.
var refusalFields = []message.Field{
	{Name: []byte("content-type"), Value: []byte("text/plain; charset=utf-8")},
	{Name: []byte("x-content-type-options"), Value: []byte("nosniff")},
	{Name: []byte("cache-control"), Value: []byte("no-store")},
}[:3:3]

// tellForgotten tells of a request whose client broke it before a worker took it. mu is
// held.
func (c *ServerConn) tellForgotten(s *stream) {
	var broken *streamError
	if c.cfg.Refused != nil && errors.As(s.err, &broken) {
		head := lineOf(&s.req)
		c.spawn(func() { c.cfg.Refused(head, http.StatusBadRequest, broken.reason) })
	}
}

// tellRefused tells of the last refusal, when mu has been let go.
func (c *ServerConn) tellRefused() {
	no, head := c.refused, c.refusedHead
	c.refused, c.refusedHead = nil, nil
	if c.cfg.Refused != nil {
		c.cfg.Refused(head, no.status, no.reason)
	}
}

// lineOf is what a log tells of a head. It outlives the stream, as HPACK's strings do.
func lineOf(r *message.Request) *message.Request {
	return &message.Request{Method: r.Method, Authority: r.Authority, Path: r.Path, Major: 2}
}
