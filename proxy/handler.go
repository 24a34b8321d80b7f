package proxy

import (
	"net/http"
	"strings"
	"time"
)

// handler serves a listener's requests: it admits them and sends them to the
// pool of their route.
type handler struct{ listener *listener }

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.listener.server
	s.requests.add()
	defer s.requests.done()
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()

	x := newExchange(h.listener, w, r)
	defer x.finish()
	if err := x.admit(); err != nil {
		x.fail(err)
		return
	}
	x.route.pool.forward(x)
}

func newExchange(l *listener, w http.ResponseWriter, r *http.Request) *exchange {
	rc := http.NewResponseController(w)
	x := &exchange{
		server: l.server, listener: l, conn: connFrom(r.Context()),
		w:     newAnswerWriter(w, rc, l.Timeouts.Write),
		began: time.Now(), client: clientAddr(r, l).String(),
	}
	x.path, x.query, x.ask = splitTarget(r.RequestURI)
	r = r.WithContext(x.attach(r.Context()))
	if r.Body != nil && r.Body != http.NoBody {
		x.body = newClientBody(r.Body, rc, l.Timeouts.Read)
		r.Body = x.body
		// Without this net/http reads a body off before the head of an answer
		// that comes early, while it is still on its way to the backend.
		rc.EnableFullDuplex() // HTTP/2 always is, and says it is not supported
	}
	x.r = r
	return x
}

// admit finds the route or says why there is none.
func (x *exchange) admit() error {
	if x.r.Method == http.MethodConnect || x.r.Method == http.MethodTrace {
		return errMethod
	}
	if err := x.admitAuthority(); err != nil {
		return err
	}
	path := x.path
	if path == "*" {
		if x.r.Method != http.MethodOptions {
			return errBadPath
		}
		path = "/"
	}
	decoded, err := decodePath(path)
	if err != nil {
		return err
	}
	if x.route = x.conn.site.routes.find(decoded); x.route == nil {
		return errNoRoute
	}
	return nil
}

// admitAuthority holds the request to its connection's site. A name that
// another site serves, or none, gets 421: the client may ask again on a
// connection of its own (RFC 9110 §15.5.20).
func (x *exchange) admitAuthority() error {
	// net/http takes :authority and keeps a Host field beside it (RFC 9113
	// §8.3.1: they must not differ); in HTTP/1.1 it has refused doubled ones.
	if fields := x.r.Header["Host"]; len(fields) > 1 || len(fields) == 1 && !strings.EqualFold(fields[0], x.r.Host) {
		return errBadAuthority
	}
	host, ok := authorityHost(x.r.Host)
	if !ok {
		return errBadAuthority
	}
	x.host = normalHost(host)
	if x.conn.site == nil || x.server.sites.find(x.host) != x.conn.site {
		return errMisdirected
	}
	return nil
}
