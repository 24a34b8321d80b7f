package configs

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func (s Site) validate(p place) {
	checkName(p.key("name"), s.Name)

	hosts := p.key("hosts")
	some(hosts, s.Hosts, "host")
	for i, host := range s.Hosts {
		if _, err := canonicalHost(host); err != nil {
			hosts.item(i).refuse(err)
		}
	}

	certificates := p.key("certificates")
	some(certificates, s.Certificates, "certificate")
	each(certificates, s.Certificates, Certificate.validate)

	routes := p.key("routes")
	some(routes, s.Routes, "route")
	each(routes, s.Routes, Route.validate)
	distinct(routes, s.Routes, "path", func(r Route) string { return r.Path })

	s.HSTS.validate(p.key("hsts"))

	pages := p.key("error_pages")
	each(pages, s.ErrorPages, ErrorPage.validate)
	distinct(pages, s.ErrorPages, "status", ErrorPage.status)
}

func (e ErrorPage) validate(p place) {
	at := p.key("status")
	if e.Status == 0 {
		required(at)
	} else {
		between(at, e.Status, 400, 599)
	}
	at = p.key("file")
	if e.File == "" {
		required(at)
	} else if _, ok := ErrorPageTypes[filepath.Ext(e.File)]; !ok {
		at.say(quote(e.File)+" has no extension that tells its type", "one of .html, .json, .txt")
	}
}

// status is the page's as text, empty where there is none.
func (e ErrorPage) status() string {
	if e.Status == 0 {
		return ""
	}
	return strconv.Itoa(e.Status)
}

// preloadDays is the least age that browsers' lists ask for.
const preloadDays = 365

func (h HSTS) validate(p place) {
	switch {
	case h.MaxAge == nil && !p.key("max_age").isMuted() && (h.IncludeSubdomains || h.Preload):
		p.key("max_age").say("is required for the other keys to mean something", "such as 365d")
	case h.MaxAge != nil && h.Preload && (!h.IncludeSubdomains || *h.MaxAge < preloadDays):
		p.key("preload").say("goes with include_subdomains and a max_age of a year at least",
			"browsers' lists take no other site, and are hard to leave: preload comes last")
	}
}

// methodSyntax leaves out methods in lower case, which are others (RFC 9110 §9.1)
// and never meant.
var methodSyntax = regexp.MustCompile(`^[A-Z][A-Z-]{0,31}$`)

func (r Route) validateLimits(p place) {
	methods := p.key("methods")
	for i, method := range r.Methods {
		switch at := methods.item(i); {
		case !methodSyntax.MatchString(method):
			at.say(quote(method)+" is not a method", "such as GET, in capitals")
		case method == "CONNECT" || method == "TRACE":
			at.say(method+" is never forwarded", "a WebSocket is a GET")
		case slices.Index(r.Methods, method) < i:
			at.say(method+" is given twice", "leave out one of them")
		}
	}
}

func (r Route) validate(p place) {
	r.validateLimits(p)
	r.RequestFields.validate(p.key("request_fields"))
	r.ResponseFields.validate(p.key("response_fields"))
	if r.Pool == "" {
		required(p.key("pool"))
	}
	at := p.key("path")
	switch {
	case !strings.HasPrefix(r.Path, "/"):
		at.say(quote(r.Path)+" does not begin with a slash", "")
	case strings.ContainsAny(r.Path, "?#"):
		at.say(quote(r.Path)+" is more than a path", "routes do not look at queries and fragments")
	case strings.ContainsFunc(r.Path, notInURI):
		at.say(quote(r.Path)+" holds characters that no request's path has", "write them as %20 and so on")
	case hasDotSegment(r.Path):
		at.say(quote(r.Path)+` has a segment "." or ".."`, "write the path that is meant")
	}
}

func hasDotSegment(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
