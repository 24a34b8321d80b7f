package message

import "bytes"

// FieldID numbers the fields that this program looks at, so that nothing is
// compared by its letters twice. All others are Other.
type FieldID uint8

// The fields that are known by number.
const (
	Other FieldID = iota
	Connection
	ContentLength
	Cookie
	Date
	Expect
	Forwarded
	Host
	HTTP2Settings
	KeepAlive
	Proxy
	ProxyAuthenticate
	ProxyAuthorization
	ProxyConnection
	Server
	StrictTransportSecurity
	TE
	Trailer
	TransferEncoding
	Upgrade
	Via
	XForwardedFor
	XForwardedHost
	XForwardedProto
	XRequestID
	fieldIDs
)

// names are in lower case, as HTTP/2 has them (RFC 9113 §8.2.1).
var names = [fieldIDs]string{
	Connection:              "connection",
	ContentLength:           "content-length",
	Cookie:                  "cookie",
	Date:                    "date",
	Expect:                  "expect",
	Forwarded:               "forwarded",
	Host:                    "host",
	HTTP2Settings:           "http2-settings",
	KeepAlive:               "keep-alive",
	Proxy:                   "proxy",
	ProxyAuthenticate:       "proxy-authenticate",
	ProxyAuthorization:      "proxy-authorization",
	ProxyConnection:         "proxy-connection",
	Server:                  "server",
	StrictTransportSecurity: "strict-transport-security",
	TE:                      "te",
	Trailer:                 "trailer",
	TransferEncoding:        "transfer-encoding",
	Upgrade:                 "upgrade",
	Via:                     "via",
	XForwardedFor:           "x-forwarded-for",
	XForwardedHost:          "x-forwarded-host",
	XForwardedProto:         "x-forwarded-proto",
	XRequestID:              "x-request-id",
}

// byLength are the known names of each length, of which there are few.
var byLength = func() (table [maxName + 1][]FieldID) {
	for id := Other + 1; id < fieldIDs; id++ {
		n := len(names[id])
		table[n] = append(table[n], id)
	}
	return table
}()

const maxName = len("strict-transport-security")

// IDOf returns the number of a field's name, in whichever case it is written.
func IDOf(name []byte) FieldID {
	if len(name) > maxName {
		return Other
	}
	for _, id := range byLength[len(name)] {
		if equalFold(name, names[id]) {
			return id
		}
	}
	return Other
}

// equalFold compares ASCII letters without their case. Other bytes must be the same.
func equalFold(b []byte, lower string) bool {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Field is a field line: a name as it was written and a value without the white
// space around it.
type Field struct {
	ID          FieldID
	Name, Value []byte
}

// Is says whether the field has this name, given in lower case.
func (f Field) Is(name string) bool {
	return len(f.Name) == len(name) && equalFold(f.Name, name)
}

// TokenIn says whether a comma-separated list has the token, given in lower
// case, among its members (RFC 9110 §5.6.1).
func TokenIn(list []byte, token string) bool {
	for part := range bytes.SplitSeq(list, []byte{','}) {
		if part = bytes.Trim(part, " \t"); len(part) == len(token) && equalFold(part, token) {
			return true
		}
	}
	return false
}
