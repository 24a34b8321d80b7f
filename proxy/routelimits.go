package proxy

import "sallyport/proxy/message"

// admits says what of a request the route does not take. A WebSocket is a GET,
// also where HTTP/2 calls it a CONNECT (RFC 8441).
func (r *route) admits(in *message.Request) error {
	method := in.Method
	if len(in.Protocol) > 0 {
		method = get
	}
	if r.methods != nil && !r.takes(method) {
		return errMethod
	}
	if r.tooLarge(in.Length) {
		return errBodyLarge
	}
	return nil
}

var get = []byte("GET")

func (r *route) takes(method []byte) bool {
	for _, m := range r.methods {
		if isMethod(method, m) {
			return true
		}
	}
	return false
}

// tooLarge says whether a body has more bytes than the route takes, as far as
// they are known.
func (r *route) tooLarge(bytes int64) bool { return r.maxBody > 0 && bytes > r.maxBody }

// allowed is the Allow of an answer to a method that is not.
func (x *exchange) allowed() []byte {
	if x.route != nil && x.route.methods != nil {
		return x.route.allow
	}
	return allMethods
}

// allMethods are those that are known and forwarded.
var allMethods = []byte("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
