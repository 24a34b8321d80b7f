package proxy

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"

	"sallyport/proxy/message"
)

// webSocket is the one protocol that is switched to. Any other would open a way
// past us: behind h2c the client talks to the backend alone.
var webSocket = []byte("websocket")

// HTTP/1.1 opens a WebSocket with a GET whose key the server has to answer, so that
// nobody opens one unawares (RFC 6455 §4). HTTP/2 has a method for it and no key
// (RFC 8441 §5). Between the two the key is made, and checked, here.
const (
	keyName    = "sec-websocket-key"
	acceptName = "sec-websocket-accept"
	keySize    = 16
	acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// bridges says whether the request opens a WebSocket between two versions of HTTP.
func (x *exchange) bridges() bool {
	return len(x.in.Protocol) > 0 && (x.in.Major == 2) != (x.route.pool.Protocol == H2C)
}

// editUpgrade makes of one version's way to open a WebSocket the other's.
func (x *exchange) editUpgrade() error {
	if !x.bridges() {
		return nil
	}
	if x.in.Major == 1 {
		key := sole(x.fields, keyName)
		if raw, err := base64.StdEncoding.DecodeString(string(key)); err != nil || len(raw) != keySize {
			return errWebSocketKey
		}
		x.key = key
		x.out.Fields = without(x.fields, keyName)
		return nil
	}
	var nonce [keySize]byte
	rand.Read(nonce[:])
	x.key = base64.StdEncoding.AppendEncode(nil, nonce[:])
	x.out.Method, x.out.Length = []byte("GET"), 0
	x.out.Fields = append(without(x.fields, keyName), message.Field{Name: []byte("Sec-WebSocket-Key"), Value: x.key})
	return nil
}

// editSwitch makes of one version's 101 the other's. A backend of HTTP/1.1 must
// have understood what it was asked (RFC 6455 §4.2.2).
func (x *exchange) editSwitch(head *message.Response) error {
	if !x.bridges() {
		return nil
	}
	if x.in.Major == 2 && !bytes.Equal(sole(head.Fields, acceptName), acceptOf(x.key)) {
		return fmt.Errorf("%w: Sec-WebSocket-Accept is not for the key", errBackendBroken)
	}
	head.Fields = without(head.Fields, acceptName)
	if x.in.Major == 1 {
		head.Fields = append(head.Fields, message.Field{Name: []byte("Sec-WebSocket-Accept"), Value: acceptOf(x.key)})
	}
	return nil
}

// acceptOf is what answers a key.
func acceptOf(key []byte) []byte {
	sum := sha1.Sum(append(bytes.Clone(key), acceptGUID...))
	return base64.StdEncoding.AppendEncode(nil, sum[:])
}

// sole is the value of a field that is there once, else nil.
func sole(fields []message.Field, name string) (value []byte) {
	for _, f := range fields {
		if f.Is(name) {
			if value != nil {
				return nil
			}
			value = f.Value
		}
	}
	return value
}

// without returns a copy of fields that lacks those of a name.
func without(fields []message.Field, name string) []message.Field {
	kept := make([]message.Field, 0, len(fields)+1)
	for _, f := range fields {
		if !f.Is(name) {
			kept = append(kept, f)
		}
	}
	return kept
}

// errUnswitched is an answer that HTTP/2 would take for a tunnel, from a
// backend of HTTP/1.1 that has overlooked what it was asked.
var errUnswitched = errors.New("it answered an upgrade as if it was none")

// unswitched says whether an answer is that.
func (x *exchange) unswitched(head *message.Response) bool {
	return x.in.Major == 2 && len(x.in.Protocol) > 0 && head.Status/100 == 2
}
