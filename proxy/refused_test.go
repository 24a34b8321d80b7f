package proxy

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestRefused_EachIsWrittenDown has requests that HTTP/2's codec refuses by itself.
func TestRefused_EachIsWrittenDown(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool)
	h := f.dialHTTP2()
	large := strings.Repeat("x", 40<<10)
	for i, tc := range []struct {
		outcome string
		status  int64
		fields  [][2]string
	}{
		{"malformed", 400, [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", "/\xff"}}},
		{"head too long", 431, [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}, {"x", large}, {"y", large}}},
		{"unknown expectation", 417, [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}, {"expect", "miracles"}}},
		{"field name with an underscore", 400, [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}, {"x_y", "z"}}},
		{"scheme is not the connection's", 421, [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", www}, {":path", "/"}}},
		{"unknown kind of tunnel", 501, [][2]string{{":method", "CONNECT"}, {":authority", www + ":443"}}},
	} {
		f.sendHead(h, uint32(2*i+1), tc.fields, false)
		line := f.access.next(t)
		if line["status"].Int64() != tc.status || line["protocol"].String() != "HTTP/2.0" || line["site"].String() != "www" {
			t.Errorf("%s: logged %v", tc.outcome, line)
		}
		if outcome := line["outcome"].String(); outcome == "ok" || tc.outcome != "malformed" && outcome != tc.outcome {
			t.Errorf("%s: logged %q", tc.outcome, outcome)
		}
	}
	if n := testutil.CollectAndCount(f.server.metrics.requests); n != 5 {
		t.Errorf("%d series", n)
	}
}

// TestRefused_StreamsBeyondTheBoundAreWrittenDown has a client that opens more than it may.
func TestRefused_StreamsBeyondTheBoundAreWrittenDown(t *testing.T) {
	address, _, let := held(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool)
	h := f.dialSettled()
	h.WriteSettingsAck()
	const most = 100
	for i := range uint32(most + 1) {
		f.sendHead(h, 2*i+1, [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}}, true)
	}
	line := f.access.next(t)
	if line["status"].Int64() != 429 || line["outcome"].String() != "too many streams at once" || line["protocol"].String() != "HTTP/2.0" {
		t.Errorf("logged %v", line)
	}
	for {
		fr, err := h.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if rst, ok := fr.(*http2.RSTStreamFrame); ok {
			if rst.ErrCode != http2.ErrCodeRefusedStream || rst.StreamID != 2*most+1 {
				t.Errorf("%v with %v", rst, rst.ErrCode)
			}
			break
		}
	}
	close(let)
}

// sendHead sends a field section in as many frames as it takes.
func (f *front) sendHead(h *http2.Framer, id uint32, fields [][2]string, end bool) {
	f.t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, kv := range fields {
		enc.WriteField(hpack.HeaderField{Name: kv[0], Value: kv[1]})
	}
	first := block.Next(16 << 10)
	err := h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: block.Len() == 0})
	for err == nil && block.Len() > 0 {
		p := block.Next(16 << 10)
		err = h.WriteContinuation(id, block.Len() == 0, p)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}
