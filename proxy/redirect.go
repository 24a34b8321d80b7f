package proxy

import (
	"fmt"
	"net/http"
	"strconv"

	"sallyport/proxy/message"
)

// Redirect is what a listener answers that speaks plain HTTP: each request for a
// name of a site is sent to the same path at HTTPS. Anything else gets an error, so
// that nobody is led to a host that is not served here.
type Redirect struct {
	Port   int // 443: the one of HTTPS
	Status int // 308, or 301, 302, 307
}

func (r *Redirect) withDefaults() *Redirect {
	d := *r
	if d.Port == 0 {
		d.Port = 443
	}
	if d.Status == 0 {
		d.Status = http.StatusPermanentRedirect
	}
	return &d
}

func (r *Redirect) check() error {
	if r.Port < 1 || r.Port > 65535 {
		return fmt.Errorf("a redirect to port %d", r.Port)
	}
	switch r.Status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return nil
	}
	return fmt.Errorf("a redirect with status %d", r.Status)
}

// redirect answers the request. It never asks for its body.
func (x *exchange) redirect(r *Redirect) error {
	if isMethod(x.in.Method, "CONNECT") || isMethod(x.in.Method, "TRACE") {
		return errMethod
	}
	host, ok := authorityHost(string(x.in.Authority))
	if !ok {
		return errBadAuthority
	}
	if x.site = x.server.sites.find(host); x.site == nil {
		return errMisdirected
	}
	if isMethod(x.path, "*") {
		return errNoRoute // it is about this server, which has nothing to say
	}
	x.status = r.Status
	x.answer = x.answer[:0]
	x.answerField(location, x.store(httpsScheme, []byte(host), r.port(), x.in.Path))
	x.ownAnswer()
	answer := message.Response{Status: r.Status, Bodiless: isMethod(x.in.Method, "HEAD"), Fields: x.answer}
	if err := x.client.WriteHead(&answer, true); err != nil {
		return x.writeFailed(err)
	}
	return nil
}

var (
	location    = ownName{message.Other, []byte("Location")}
	httpsScheme = []byte("https://")
)

// port is what follows the host.
func (r *Redirect) port() []byte {
	if r.Port == 443 {
		return nil
	}
	return strconv.AppendInt([]byte{':'}, int64(r.Port), 10)
}
