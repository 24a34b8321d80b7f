package proxy

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"

	"sallyport/proxy/message"
)

// Via tells backends and clients whom a message has passed (RFC 9110 §7.6.3), and this server
// which messages it has passed on before. Its pseudonym is drawn at random when
// the server is made, so that several in a row are told apart, and says nothing of the host.
type viaValues struct {
	pseudonym      []byte
	one, zero, two []byte // as received by HTTP/1.1, HTTP/1.0 and HTTP/2
}

func newViaValues() (v viaValues) {
	var bits [4]byte
	rand.Read(bits[:]) // never fails
	v.pseudonym = hex.AppendEncode([]byte("sallyport-"), bits[:])
	v.zero = append([]byte("1.0 "), v.pseudonym...)
	v.one = append([]byte("1.1 "), v.pseudonym...)
	v.two = append([]byte("2 "), v.pseudonym...)
	return v
}

// of returns the member for a message that came by a version of HTTP.
func (v *viaValues) of(major, minor uint8) []byte {
	switch {
	case major == 2:
		return v.two
	case minor == 0:
		return v.zero
	}
	return v.one
}

// version is the one of HTTP that a pool's backends answer by.
func (f *forwarder) version() (major, minor uint8) {
	if f.Protocol == H2C {
		return 2, 0
	}
	return 1, 1
}

// maxPasses is how often a request may pass this server. A backend may well ask another site
// of it; one that asks itself, by whatever way, would do so without end.
const maxPasses = 4

// takeVia refuses a request that goes round in circles.
func (x *exchange) takeVia() error {
	passes := 0
	for i := range x.in.Fields {
		if f := &x.in.Fields[i]; f.ID == message.Via {
			passes += bytes.Count(f.Value, x.server.via.pseudonym)
		}
	}
	if passes > maxPasses {
		return errLoop
	}
	return nil
}
