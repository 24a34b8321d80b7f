package message

import "strings"

// kinds are sets of fields that have something in common.
type kind uint8

const (
	endToEnd  kind = 1 << iota // Connection cannot take it away
	inTheHead                  // it means nothing, or harm, behind a body
)

// kindOf are the fields whose names are written out; in prefixes are those that begin alike.
// All are in lower case.
var kindOf = func() map[string]kind {
	kinds := map[string]kind{}
	set := func(k kind, names string) {
		for name := range strings.FieldsSeq(names) {
			kinds[name] |= k
		}
	}
	// Authentication, and what a proxy in front tells of the client.
	set(endToEnd|inTheHead, `authorization cookie cookie2 set-cookie set-cookie2 www-authenticate
		client-cert client-cert-chain true-client-ip forwarded x-real-ip x-request-id x-correlation-id
		proxy via cdn-loop traceparent tracestate x-api-key x-csrf-token x-xsrf-token x-requested-with`)
	// Control of caches and of the request, RFC 9110 §6.5.1.
	set(endToEnd|inTheHead, `age cache-control expires date pragma vary warning location retry-after range max-forwards
		origin referer user-agent from host prefer strict-transport-security x-frame-options x-content-type-options
		x-http-method x-http-method-override x-method-override x-original-url x-rewrite-url priority early-data
		accept accept-charset accept-encoding accept-language accept-ranges allow server alt-svc refresh`)
	set(inTheHead, `connection content-length expect http2-settings keep-alive proxy-authenticate proxy-authorization
		proxy-connection te trailer transfer-encoding upgrade`)
	set(endToEnd, `authentication-info etag last-modified link`)
	// Digests are known behind the body alone (RFC 9530 §6.2).
	set(endToEnd, `content-digest content-md5 digest repr-digest`)
	return kinds
}()

var prefixes = []struct {
	prefix string
	kind   kind
}{
	{"content-", endToEnd | inTheHead},
	{"if-", endToEnd | inTheHead},
	{"sec-", endToEnd | inTheHead},
	{"access-control-", endToEnd | inTheHead},
	{"x-forwarded-", endToEnd | inTheHead},
	{"x-client-", endToEnd | inTheHead},
	{"x-ssl-", endToEnd | inTheHead},
	{"ssl-", endToEnd | inTheHead},
	{"x-tls-", endToEnd | inTheHead},
	{"x-auth-", endToEnd | inTheHead},
	{"x-remote-", endToEnd | inTheHead},
	{"x-original-", endToEnd | inTheHead},
	{"cf-", endToEnd | inTheHead},
	{"x-amzn-", endToEnd | inTheHead},
	{"x-azure-", endToEnd | inTheHead},
	{"x-envoy-", endToEnd | inTheHead},
	{"x-b3-", endToEnd | inTheHead},
}

// longest is how long names are that kindOf and prefixes tell apart.
const longest = 32

func (f Field) is(k kind) bool {
	var lower [longest]byte
	n := min(len(f.Name), longest)
	for i, c := range f.Name[:n] {
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case c == '_':
			c = '-' // some backends take the one for the other
		}
		lower[i] = c
	}
	if len(f.Name) <= longest {
		if known, ok := kindOf[string(lower[:n])]; ok {
			return known&k != 0
		}
	}
	for _, p := range prefixes {
		if p.kind&k != 0 && len(f.Name) > len(p.prefix) && n >= len(p.prefix) && string(lower[:len(p.prefix)]) == p.prefix {
			return true
		}
	}
	return false
}

// EndToEnd reports whether a field is meant for the last recipient, so that Connection must not
// name it (RFC 9110 §7.6.1). A client that does might otherwise have taken away what a
// proxy in front has set.
func (f Field) EndToEnd() bool { return f.is(endToEnd) }

// MayTrail reports whether a field may stand behind a body (RFC 9110 §6.5.1): not one that
// frames or routes the message, authenticates, says how it is to be treated or what its
// content is. Recipients that add trailers to the head would take it for one that was
// looked at there.
func (f Field) MayTrail() bool { return !f.is(inTheHead) }
