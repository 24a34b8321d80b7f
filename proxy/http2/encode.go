package http2

import (
	"strconv"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// What is sent is encoded with HPACK's static table alone, and without Huffman
// codes (RFC 7541). So it needs no memory beside the connection and no
// allocation, and costs some bytes of a head on the wire; nginx and HAProxy
// decided likewise. The first section says that the dynamic table has no room,
// whatever the peer's SETTINGS_HEADER_TABLE_SIZE: no later change of that
// setting concerns it then (RFC 7541 §4.2).

const noTable = 0x20 // dynamic table size update to 0

// Indices of the static table (RFC 7541 appendix A).
const (
	hAuthority = 1
	hGET       = 2
	hMethod    = 2
	hPOST      = 3
	hPath      = 4
	hRoot      = 4
	hHTTP      = 6
	hStatus    = 8
	hLength    = 28
	hExpect    = 35
)

var statusIndex = map[int]byte{200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}

// nameIndex are the static table's names of fields.
var nameIndex = map[string]uint8{
	"accept-charset": 15, "accept-encoding": 16, "accept-language": 17, "accept-ranges": 18, "accept": 19,
	"access-control-allow-origin": 20, "age": 21, "allow": 22, "authorization": 23, "cache-control": 24,
	"content-disposition": 25, "content-encoding": 26, "content-language": 27, "content-length": 28,
	"content-location": 29, "content-range": 30, "content-type": 31, "cookie": 32, "date": 33, "etag": 34,
	"expect": 35, "expires": 36, "from": 37, "host": 38, "if-match": 39, "if-modified-since": 40,
	"if-none-match": 41, "if-range": 42, "if-unmodified-since": 43, "last-modified": 44, "link": 45,
	"location": 46, "max-forwards": 47, "proxy-authenticate": 48, "proxy-authorization": 49, "range": 50,
	"referer": 51, "refresh": 52, "retry-after": 53, "server": 54, "set-cookie": 55,
	"strict-transport-security": 56, "transfer-encoding": 57, "user-agent": 58, "vary": 59, "via": 60,
	"www-authenticate": 61,
}

// appendInt appends an integer behind a prefix of n bits (RFC 7541 §5.1).
func appendInt(b []byte, first byte, n uint, v int) []byte {
	limit := 1<<n - 1
	if v < limit {
		return append(b, first|byte(v))
	}
	b = append(b, first|byte(limit))
	for v -= limit; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func appendIndexed(b []byte, index byte) []byte { return append(b, 0x80|index) }

// appendValue appends a field whose name the static table has, without indexing.
func appendValue(b []byte, index int, value []byte) []byte {
	b = appendInt(b, 0, 4, index)
	b = appendInt(b, 0, 7, len(value))
	return append(b, value...)
}

func appendNumber(b []byte, index int, v int64) []byte {
	var digits [20]byte
	return appendValue(b, index, strconv.AppendInt(digits[:0], v, 10))
}

// appendName appends a new name in lower case.
func appendName(b, name []byte) []byte {
	b = append(b, 0)
	b = appendInt(b, 0, 7, len(name))
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	return b
}

func appendField(b []byte, f message.Field) []byte {
	var lower [32]byte
	if n := len(f.Name); n <= len(lower) {
		for i, c := range f.Name {
			if 'A' <= c && c <= 'Z' {
				c |= 0x20
			}
			lower[i] = c
		}
		if index, ok := nameIndex[string(lower[:n])]; ok {
			return appendValue(b, int(index), f.Value)
		}
	}
	b = appendName(b, f.Name)
	b = appendInt(b, 0, 7, len(f.Value))
	return append(b, f.Value...)
}

func appendFields(b []byte, fields []message.Field) []byte {
	for _, f := range fields {
		b = appendField(b, f)
	}
	return b
}

// appendResponse appends a response's head. A 304 may tell the length of what it does
// not bring, but Go's client, for one, waits for that.
func appendResponse(b []byte, r *message.Response) []byte {
	if index, ok := statusIndex[r.Status]; ok {
		b = appendIndexed(b, index)
	} else {
		b = appendNumber(b, hStatus, int64(r.Status))
	}
	if r.Length >= 0 && r.Status >= 200 && r.Status != 204 && r.Status != 304 {
		b = appendNumber(b, hLength, r.Length)
	}
	return appendFields(b, r.Fields)
}

// appendRequest appends a request's head. An upgrade is an extended CONNECT
// (RFC 8441), whatever its method was.
func appendRequest(b []byte, r *message.Request) []byte {
	switch {
	case len(r.Protocol) > 0:
		b = appendValue(b, hMethod, []byte("CONNECT"))
		b = appendField(b, message.Field{Name: []byte(":protocol"), Value: r.Protocol})
	case string(r.Method) == "GET":
		b = appendIndexed(b, hGET)
	case string(r.Method) == "POST":
		b = appendIndexed(b, hPOST)
	default:
		b = appendValue(b, hMethod, r.Method)
	}
	b = appendIndexed(b, hHTTP)
	if len(r.Path) == 1 && r.Path[0] == '/' {
		b = appendIndexed(b, hRoot)
	} else {
		b = appendValue(b, hPath, r.Path)
	}
	if len(r.Authority) > 0 {
		b = appendValue(b, hAuthority, r.Authority)
	}
	if r.Length >= 0 && len(r.Protocol) == 0 && (r.Length > 0 || !bodyless(r.Method)) {
		b = appendNumber(b, hLength, r.Length)
	}
	if r.Expects {
		b = appendValue(b, hExpect, []byte("100-continue"))
	}
	if r.Trailers {
		b = appendField(b, message.Field{Name: []byte("te"), Value: []byte("trailers")})
	}
	return appendFields(b, r.Fields)
}

// bodyless says whether a method's requests have no body unless they say so.
func bodyless(method []byte) bool {
	switch string(method) {
	case "POST", "PUT", "PATCH":
		return false
	}
	return true
}

// appendSection queues a field section as HEADERS and as many CONTINUATIONs as
// it takes. fill appends the encoded fields. mu is held.
func (c *conn) appendSection(id uint32, end bool, size int, fill func([]byte) []byte) {
	start := len(c.out.pending)
	b := c.out.room(size + headLen)
	b = append(b, make([]byte, headLen)...)
	if !c.out.noTable {
		c.out.noTable = true
		b = append(b, noTable)
	}
	b = fill(b)
	var flags http2.Flags
	if end {
		flags = http2.FlagHeadersEndStream
	}
	c.out.pending = split(b, start, id, flags)
}

// split puts a head before the section that begins at start, and before each
// further part of it that has to be a frame of its own.
func split(b []byte, start int, id uint32, flags http2.Flags) []byte {
	kind := http2.FrameHeaders
	for {
		n := len(b) - start - headLen
		if n <= maxPayload {
			frame{length: n, kind: kind, flags: flags | http2.FlagHeadersEndHeaders, id: id}.put(b[start:])
			return b
		}
		frame{length: maxPayload, kind: kind, flags: flags, id: id}.put(b[start:])
		start += headLen + maxPayload
		b = append(b, make([]byte, headLen)...)
		copy(b[start+headLen:], b[start:])
		kind, flags = http2.FrameContinuation, 0
	}
}

// fieldsSize is how many bytes fields take at most.
func fieldsSize(fields []message.Field) int {
	n := 128
	for _, f := range fields {
		n += len(f.Name) + len(f.Value) + 12
	}
	return n
}
