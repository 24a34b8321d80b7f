package proxy

import (
	"context"
	"crypto/tls"
	"runtime"
	"slices"
)

// computing bounds how many handshakes compute their key exchange at once. When thousands of
// clients come in one moment, each of their goroutines would be scheduled before the one that
// goes on with the first signature, and nobody be served before all of them had computed. So
// those who come wait for a place, and those who have their signature go before them, as open
// connections and resumed sessions do. A place is given back wherever a handshake waits: for
// its signature, or for the client.
type computing chan struct{}

func newComputing() computing { return make(chan struct{}, runtime.GOMAXPROCS(0)) }

// extensionPreSharedKey is what a client begins with that resumes a session (RFC 8446 §4.2.11).
const extensionPreSharedKey = 41

// inTurn has configFor wait for a place first: the ClientHello has come in whole then.
func (s computing) inTurn(configFor func(*tls.ClientHelloInfo) (*tls.Config, error)) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c, _ := hello.Conn.(*conn)
		if c == nil || slices.Contains(hello.Extensions, extensionPreSharedKey) {
			return configFor(hello)
		}
		if first, ok := c.Conn.(*rehearsal); ok {
			waited, err := first.compute(hello.Context(), s)
			if err != nil {
				return nil, err
			}
			if waited && c.Gone() {
				return nil, errHungUp{}
			}
		}
		return configFor(hello)
	}
}

// compute takes a place among those who compute.
func (r *rehearsal) compute(ctx context.Context, s computing) (waited bool, err error) {
	select {
	case s <- struct{}{}:
	default:
		waited = true
		select {
		case s <- struct{}{}:
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
	r.place = s
	return waited, nil
}

// rest gives the place back, if the handshake has one.
func (r *rehearsal) rest() {
	if r.place != nil {
		<-r.place
		r.place = nil
	}
}
