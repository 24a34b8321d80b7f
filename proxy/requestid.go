package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"sallyport/proxy/message"
)

// maxRequestID is how long a request's name by somebody else may be.
const maxRequestID = 128

// nameRequest gives the request its X-Request-ID: the one that a trusted proxy has
// given it, or 128 random bits. It tells requests apart and is no secret.
func (x *exchange) nameRequest() {
	if x.conn.peer.trusted {
		if x.requestID = givenID(x.in.Fields); x.requestID != nil {
			return
		}
	}
	var bits [16]byte
	binary.NativeEndian.PutUint64(bits[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(bits[8:], rand.Uint64())
	start := len(x.arena)
	x.arena = hex.AppendEncode(x.arena, bits[:])
	x.requestID = x.arena[start:len(x.arena):len(x.arena)]
}

// givenID is the one X-Request-ID among fields, nil where there are more or
// where it is none to be written into logs.
func givenID(fields []message.Field) (id []byte) {
	for _, f := range fields {
		if f.ID != message.XRequestID {
			continue
		}
		if id != nil || len(f.Value) == 0 || len(f.Value) > maxRequestID {
			return nil
		}
		for _, c := range f.Value {
			if !inRequestID(c) {
				return nil
			}
		}
		id = f.Value
	}
	return id
}

// inRequestID takes what the usual kinds of IDs are made of.
func inRequestID(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '-', '_', '.', ':', '=', '+', '/', '@':
		return true
	}
	return false
}
