package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// A client may throw away a whole answer whose stream ends with an error (RFC 9113 §8.1).
func TestUpload_ThatOutlivesItsAnswerIsStoppedWithoutAnError(t *testing.T) {
	pool, _ := poolOf(t, rawBackend(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		io.Copy(io.Discard, c)
	}))
	f := serve(t, pool)
	h := f.dialHTTP2()
	f.sendHead(h, 1, [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}}, false)
	h.WriteData(1, false, []byte("the beginning"))
	for whole := false; ; {
		fr, err := h.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		whole = whole || fr.Header().Type == http2.FrameData && fr.Header().Flags.Has(http2.FlagDataEndStream)
		if rst, ok := fr.(*http2.RSTStreamFrame); ok {
			if rst.ErrCode != http2.ErrCodeNo || !whole {
				t.Errorf("%v with %v, behind a whole answer: %v", rst, rst.ErrCode, whole)
			}
			break
		}
	}
	if line := f.access.next(t); line["status"].Int64() != 200 || line["outcome"].String() != "ok" {
		t.Errorf("logged %v", line)
	}
}
