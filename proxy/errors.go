package proxy

import (
	"errors"
	"net/http"

	"sallyport/proxy/http2"
	"sallyport/proxy/message"
)

// failure is an error that knows what a client is told and what the access log
// says. Its status, or the site's page for that, is all a client sees: no address,
// no Go error.
type failure struct {
	status  int
	outcome string
}

func (f *failure) Error() string { return f.outcome }

// statusClientGone is what logs and metrics say of a request whose client did
// not wait for the answer. It is never sent.
const statusClientGone = 499

// What can become of a request beside an answer. Those of the client's making
// come first, they never count against a backend.
var (
	errBadAuthority  = &failure{http.StatusBadRequest, "bad authority"}
	errBadPath       = &failure{http.StatusBadRequest, "bad path"}
	errAmbiguousPath = &failure{http.StatusBadRequest, "path of two routes"}
	errMisdirected   = &failure{http.StatusMisdirectedRequest, "misdirected"}
	errLoop          = &failure{http.StatusLoopDetected, "loop"}
	errNoRoute       = &failure{http.StatusNotFound, "no route"}
	errMaxForwards   = &failure{http.StatusBadRequest, "bad Max-Forwards"}
	errWebSocketKey  = &failure{http.StatusBadRequest, "bad WebSocket key"}
	errMethod        = &failure{http.StatusMethodNotAllowed, "method not allowed"}
	errBodyBroken    = &failure{http.StatusBadRequest, "client broke its body"}
	errBodyLarge     = &failure{http.StatusRequestEntityTooLarge, "client body too large"}
	errBodySlow      = &failure{http.StatusRequestTimeout, "client body too slow"}
	errReaderSlow    = &failure{statusClientGone, "client reads too slowly"}
	errClientGone    = &failure{statusClientGone, "client gone"}
	errNoMemory      = &failure{http.StatusServiceUnavailable, "memory is short"}
	errCut           = &failure{http.StatusServiceUnavailable, "cut by shutdown"}
	errTunnelIdle    = &failure{http.StatusGatewayTimeout, "tunnel idle"}
	errNoTunnel      = &failure{http.StatusBadGateway, "backend makes no tunnel"}
	errShortage      = &failure{http.StatusServiceUnavailable, "out of descriptors, ports or memory"}
	errUnreachable   = &failure{http.StatusBadGateway, "no backend reached"}
	errConnectSlow   = &failure{http.StatusGatewayTimeout, "backend connect timeout"}
	errResponseSlow  = &failure{http.StatusGatewayTimeout, "backend response timeout"}
	errBackendSilent = &failure{http.StatusGatewayTimeout, "backend silent within answer"}
	errBackendBroken = &failure{http.StatusBadGateway, "backend broke its answer"}
)

// failureOf maps any error to what is answered and logged. It is the only place
// that does.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return errBackendBroken
}

// fail answers x's request with err, unless an answer has begun: then the
// outcome is only noted.
func (x *exchange) fail(err error) {
	f := failureOf(err)
	x.outcome = f
	if x.status != 0 {
		return
	}
	if f.status == statusClientGone {
		x.breakOff() // there is nobody to answer
		return
	}
	if x.in.Trailers && isReset(err) {
		x.breakOffLike(err)
		return
	}
	x.status = f.status
	page := x.pageFor(f)
	answer := message.Response{
		Status: f.status, Length: int64(len(page.body)),
		Bodiless: isMethod(x.in.Method, "HEAD"),
		Fields:   x.failureFields(f, page),
	}
	if x.client.WriteHead(&answer, answer.Bodiless) != nil || answer.Bodiless {
		return
	}
	if x.client.WriteBody(page.body, false) == nil && x.client.End(nil) == nil {
		x.bytesOut = answer.Length
	}
}

// isReset says whether a backend reset the request's stream. A client that takes
// trailers, as gRPC's do, sees that as it was: it knows of each code what to do.
func isReset(err error) bool {
	var reset *http2.ResetError
	return errors.As(err, &reset) || errors.Is(err, http2.ErrUnprocessed)
}

// failureFields are those of an answer that is made here.
func (x *exchange) failureFields(f *failure, page *errorPage) []message.Field {
	x.answer = append(x.answer[:0], page.kind)
	x.answer = append(x.answer, failureFields...)
	x.ownAnswer()
	if f == errMethod {
		x.answerField(allow, x.allowed())
	}
	return x.answer
}

var failureFields = []message.Field{
	{Name: []byte("X-Content-Type-Options"), Value: []byte("nosniff")},
	{Name: []byte("Cache-Control"), Value: []byte("no-store")},
}
