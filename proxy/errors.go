package proxy

import (
	"errors"
	"net/http"
	"strconv"
)

// failure is an error that knows what a client is told and what the access log
// says. Its text is all a client sees: no address, no Go error.
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
	errMisdirected   = &failure{http.StatusMisdirectedRequest, "misdirected"}
	errNoRoute       = &failure{http.StatusNotFound, "no route"}
	errMethod        = &failure{http.StatusMethodNotAllowed, "method not allowed"}
	errBodyBroken    = &failure{http.StatusBadRequest, "client broke its body"}
	errBodySlow      = &failure{http.StatusRequestTimeout, "client body too slow"}
	errReaderSlow    = &failure{statusClientGone, "client reads too slowly"}
	errClientGone    = &failure{statusClientGone, "client gone"}
	errCut           = &failure{http.StatusServiceUnavailable, "cut by shutdown"}
	errTunnelIdle    = &failure{http.StatusGatewayTimeout, "tunnel idle"}
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
// outcome is only noted. What the client still sends belongs to a request that
// nobody reads, so the connection is closed after it.
func (x *exchange) fail(err error) {
	f := failureOf(err)
	x.outcome = f.outcome
	if x.w.status != 0 {
		return
	}
	h := x.w.Header()
	clear(h)
	if f == errMethod {
		h.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	if !x.body.whole() && x.r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	if f.status == statusClientGone {
		x.status = statusClientGone
		panic(http.ErrAbortHandler) // there is nobody to answer
	}
	text := strconv.Itoa(f.status) + " " + http.StatusText(f.status) + "\n"
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	x.w.WriteHeader(f.status)
	if x.r.Method != http.MethodHead {
		x.w.Write([]byte(text))
	}
}
