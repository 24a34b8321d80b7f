package proxy

import (
	"net/http"
	"strconv"

	"sallyport/proxy/message"
)

// Max-Forwards bounds how often an OPTIONS is passed on (RFC 9110 §7.6.2). It
// would for TRACE too, which is never passed on here; with other methods it
// means nothing.
const maxForwardsName = "max-forwards"

// noForwards is that of a request without the field.
const noForwards = -1

// takeMaxForwards notes how often the request may still be passed on. What is no
// number, or there twice, is refused: passed on as it is it would bound nothing.
func (x *exchange) takeMaxForwards() error {
	x.forwards = noForwards
	if !isMethod(x.in.Method, http.MethodOptions) {
		return nil
	}
	for _, f := range x.in.Fields {
		if !f.Is(maxForwardsName) {
			continue
		}
		n, ok := parseForwards(f.Value)
		if !ok || x.forwards != noForwards {
			return errMaxForwards
		}
		x.forwards = n
	}
	return nil
}

// mostForwards is the highest number that is passed on.
const mostForwards = 1 << 30

func parseForwards(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int(c-'0'), mostForwards+1)
	}
	return n, len(b) > 0
}

// forwardedOnceMore returns the field as the backend gets it.
func (x *exchange) forwardedOnceMore(f message.Field) message.Field {
	f.Value = strconv.AppendInt(nil, int64(x.forwards-1), 10)
	return f
}

// answerOptions answers an OPTIONS that goes no further. It never asks for its body.
func (x *exchange) answerOptions() error {
	x.status = http.StatusOK
	x.answer = x.answer[:0]
	if x.route.methods != nil {
		x.answerField(allow, x.route.allow)
	}
	x.ownAnswer()
	if err := x.client.WriteHead(&message.Response{Status: x.status, Fields: x.answer}, true); err != nil {
		return x.writeFailed(err)
	}
	return nil
}
