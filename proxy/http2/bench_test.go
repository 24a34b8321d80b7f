package http2

import (
	"bytes"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport/proxy/message"
)

// BenchmarkServer_Get is a GET and its answer on a connection that is used by
// ten streams at once, as an operator's load generator does it. Its client
// allocates nothing.
func BenchmarkServer_Get(b *testing.B) {
	body := bytes.Repeat([]byte{'x'}, 100)
	fields := []message.Field{
		{Name: []byte("Content-Type"), Value: []byte("text/plain")},
		{Name: []byte("X-Request-Id"), Value: []byte("0123456789")},
	}
	f := serve(b, Config{}, func(e message.Exchange) {
		e.WriteHead(&message.Response{Status: 200, Length: int64(len(body)), Fields: fields}, false)
		e.WriteBody(body, false)
		e.End(nil)
	})
	nc, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, http2.ClientPreface)
	nc.Write(appendSettingsAck(appendSettings(nil)))
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	encode := func() []byte {
		block.Reset()
		for _, kv := range [][2]string{
			{":method", "GET"}, {":scheme", "http"}, {":authority", "localhost:8443"}, {":path", "/some/path"}, {"user-agent", "bench"},
		} {
			enc.WriteField(hpack.HeaderField{Name: kv[0], Value: kv[1]})
		}
		return bytes.Clone(block.Bytes())
	}
	first, next := encode(), encode()
	in := make([]byte, 64<<10)
	id := uint32(1)
	var out []byte
	round := func(n int, head []byte) {
		out = out[:0]
		for range n {
			out = frame{length: len(head), kind: http2.FrameHeaders, flags: http2.FlagHeadersEndHeaders | http2.FlagHeadersEndStream, id: id}.append(out)
			out = append(out, head...)
			id += 2
		}
		if len(out) > 0 {
			// The windows stay open.
			out = appendWindowUpdate(out, 0, uint32(n*len(body)))
		}
		nc.Write(out)
		awaitEnds(b, nc, in, n)
	}
	round(1, first)
	round(10, next)
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= 10 {
		round(min(left, 10), next)
	}
}

// awaitEnds reads frames until n of them have ended a stream. Frames may be cut
// anywhere.
func awaitEnds(b *testing.B, nc net.Conn, in []byte, n int) {
	have := 0
	for n > 0 {
		got, err := nc.Read(in[have:])
		if err != nil {
			b.Fatal(err)
		}
		have += got
		at := 0
		for have-at >= headLen {
			f := parseFrame(in[at:])
			if have-at < headLen+f.length {
				break
			}
			if f.kind <= http2.FrameHeaders && f.flags.Has(http2.FlagDataEndStream) {
				n--
			}
			at += headLen + f.length
		}
		have = copy(in, in[at:have])
	}
}
