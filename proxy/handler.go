package proxy

import (
	"bytes"

	"sallyport/proxy/message"
)

// handle is a request's whole way, from its head to its line in the access log.
func (l *listener) handle(c *conn, client message.Exchange) {
	s := l.server
	s.requests.add()
	defer s.requests.done()
	c.asked()

	x := newExchange(l, c, client)
	x.answerOrFail()
	x.endUpload()
	x.finish()
	x.free()
}

func (x *exchange) answerOrFail() {
	defer x.server.caught(inRequest, func() { x.panicked() })
	if err := x.answerIt(); err != nil {
		x.fail(err)
	}
}

// answerIt has the request answered by a backend, or here where the listener
// only redirects.
func (x *exchange) answerIt() error {
	if r := x.listener.Redirect; r != nil {
		return x.redirect(r)
	}
	if err := x.admit(); err != nil {
		return err
	}
	if x.forwards == 0 {
		return x.answerOptions()
	}
	return x.forward()
}

// admit finds the route or says why there is none.
func (x *exchange) admit() error {
	if isMethod(x.in.Method, "CONNECT") && len(x.in.Protocol) == 0 || isMethod(x.in.Method, "TRACE") {
		return errMethod
	}
	if err := x.admitAuthority(); err != nil {
		return err
	}
	if err := x.findRoute(); err != nil {
		return err
	}
	if err := x.route.admits(x.in); err != nil {
		return err
	}
	if err := x.takeVia(); err != nil {
		return err
	}
	return x.takeMaxForwards()
}

var slash = []byte("/")

// isMethod compares letters as they are (RFC 9110 §9.1).
func isMethod(method []byte, name string) bool { return string(method) == name }

// admitAuthority holds the request to its connection's site. A name that
// another site serves, or none, gets 421: the client may ask again on a
// connection of its own (RFC 9110 §15.5.20).
func (x *exchange) admitAuthority() error {
	if last := x.conn.authority.Load(); last != nil && bytes.Equal(*last, x.in.Authority) {
		return nil
	}
	host, ok := authorityHost(string(x.in.Authority))
	if !ok {
		return errBadAuthority
	}
	if x.conn.site == nil || x.server.sites.find(normalHost(host)) != x.conn.site {
		return errMisdirected
	}
	good := bytes.Clone(x.in.Authority)
	x.conn.authority.Store(&good)
	return nil
}
