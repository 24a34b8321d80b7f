package http1

import (
	"bytes"

	"sallyport/proxy/message"
	"sallyport/proxy/message/syntax"
)

var (
	slash    = []byte("/")
	asterisk = []byte("*")
)

// takeTarget fills in what the target says beside Host (RFC 9112 §3.2), and
// holds both to each other: who reads the one must not see another site than
// who reads the other.
func takeTarget(r *message.Request, target []byte, secure bool) *Error {
	switch {
	case string(r.Method) == "CONNECT":
		if !validHost(target) || bytes.LastIndexByte(target, ':') < 0 {
			return errTarget
		}
		return takeAuthority(r, target)
	case target[0] == '/':
		return takePath(r, target)
	case len(target) == 1 && target[0] == '*':
		if string(r.Method) != "OPTIONS" {
			return errTarget
		}
		r.Path = target
		return nil
	}
	return takeAbsolute(r, target, secure)
}

// takeAbsolute takes no target of another scheme than the connection's: what is https
// must have come by TLS, and what is http is another resource (RFC 9110 §7.4).
func takeAbsolute(r *message.Request, target []byte, secure bool) *Error {
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !fold(scheme, "http") && !fold(scheme, "https") {
		return errTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, ok := syntax.Authority(rest[:end])
	if !ok {
		return errTarget
	}
	if err := takeAuthority(r, authority); err != nil {
		return err
	}
	if fold(scheme, "https") != secure {
		return errScheme
	}
	switch path := rest[end:]; {
	case len(path) == 0 && string(r.Method) == "OPTIONS":
		r.Path = asterisk // RFC 9112 §3.2.4
	case len(path) == 0:
		r.Path = slash
	case path[0] == '?':
		// The authority is Host's from here on, so its last octet here can
		// become the slash that a path begins with.
		rest[end-1] = '/'
		return takePath(r, rest[end-1:])
	default:
		return takePath(r, path)
	}
	return nil
}

func takeAuthority(r *message.Request, authority []byte) *Error {
	if r.Authority == nil && r.Minor == 0 {
		r.Authority = bytes.Clone(authority)
		return nil
	}
	if !bytes.EqualFold(r.Authority, authority) {
		return errAuthority
	}
	return nil
}

// takePath takes a path and query as they are sent on.
func takePath(r *message.Request, target []byte) (err *Error) {
	var ok bool
	if r.Path, ok = syntax.Target(target); !ok {
		return errTarget
	}
	return nil
}

// sendable says whether a request's target can be written so that it is read as it
// was meant.
func sendable(path []byte) bool {
	if len(path) == 1 && path[0] == '*' {
		return true
	}
	sent, ok := syntax.Target(path)
	return ok && len(sent) == len(path)
}

// validHost says whether b is an authority as it is written.
func validHost(b []byte) bool {
	authority, ok := syntax.Authority(b)
	return ok && len(authority) == len(b)
}
