package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answering is a backend that gives each request the same answer, head and all.
func answering(t testing.TB, answer string) string {
	return rawBackend(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, q.Body)
			io.WriteString(c, answer)
		}
	})
}

// fetch makes a request and returns the answer with its body read.
func (f *front) fetch(protocol, path string) *http.Response {
	f.t.Helper()
	res, err := f.client(protocol).Get(base + path)
	if err != nil {
		f.t.Fatal(err)
	}
	text(f.t, res)
	return res
}

func TestDate_OfTheBackendStays(t *testing.T) {
	const dated = "Sun, 06 Nov 1994 08:49:37 GMT"
	pool, _ := poolOf(t, answering(t, "HTTP/1.1 200 OK\r\nDate: "+dated+"\r\nContent-Length: 0\r\n\r\n"))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		if diff := cmp.Diff([]string{dated}, f.fetch(protocol, "/").Header.Values("Date")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDate_IsInAnswersMadeHere(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, func(c *Config) { c.Sites[0].Routes[0].Path = "/app" })
	bothProtocols(t, func(t *testing.T, protocol string) {
		res := f.fetch(protocol, "/other")
		if _, err := http.ParseTime(res.Header.Get("Date")); err != nil || res.StatusCode != 404 {
			t.Errorf("%d: %v", res.StatusCode, err)
		}
	})
}
