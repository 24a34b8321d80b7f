package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

const (
	aOK   = "HTTP/1.1 200 OK\n"
	aTwo  = "Content-Length: 2\n"
	aCode = "Transfer-Encoding: chunked\n"
)

// hostileAnswers are what backends say to a GET, in lines that end with CRLF; ¶ is a
// bare LF. want is what the client gets: status and body, "half" where the answer broke
// off within its body. blamed is what the balancer is told, kept whether the
// backend's connection serves another request. Those that end by their connection's end say
// so by "EOF".
var hostileAnswers = []struct {
	name, send, want string
	blamed, kept     bool
}{
	{"plain", aOK + aTwo + "\nhi", "200 hi", false, true},
	{"said to close", aOK + aTwo + "Connection: close\n\nhi", "200 hi", false, false},
	{"HTTP/1.0", "HTTP/1.0 200 OK\n" + aTwo + "\nhi", "200 hi", false, false},
	{"HTTP/1.0 that is kept", "HTTP/1.0 200 OK\n" + aTwo + "Connection: keep-alive\n\nhi", "200 hi", false, true},
	{"until the end", aOK + "\nhiEOF", "200 hi", false, false},
	{"nothing", "EOF", "502", true, false},
	{"half a head", aOK + aTwo + "EOF", "502", true, false},
	{"half a body", aOK + "Content-Length: 5\n\nhiEOF", "half", true, false},
	{"half a chunk", aOK + aCode + "\n5\nhiEOF", "half", true, false},
	{"chunks without the last", aOK + aCode + "\n2\nhi\nEOF", "half", true, false},
	{"last chunk without the last line", aOK + aCode + "\n2\nhi\n0\nEOF", "half", true, false},
	{"half a trailer", aOK + aCode + "\n2\nhi\n0\nX: yEOF", "half", true, false},
	{"more than its length", aOK + aTwo + "\nhi, there", "200 hi", false, false},
	{"two answers", aOK + aTwo + "\nhi" + aOK + aTwo + "\nho", "200 hi", false, false},
	{"more than the last chunk", aOK + aCode + "\n2\nhi\n0\n\n" + aOK + aTwo + "\nho", "200 hi", false, false},
	{"length and coding", aOK + aTwo + aCode + "\n2\nhi\n0\n\n", "502", true, false},
	{"two lengths", aOK + aTwo + "Content-Length: 5\n\nhi", "502", true, false},
	{"the same length twice", aOK + aTwo + aTwo + "\nhi", "200 hi", false, true},
	{"length with a sign", aOK + "Content-Length: +2\n\nhi", "502", true, false},
	{"unknown coding", aOK + "Transfer-Encoding: gzip\n\nhiEOF", "502", true, false},
	{"chunked twice", aOK + aCode + aCode + "\n2\nhi\n0\n\n", "502", true, false},
	{"bad size", aOK + aCode + "\nxy\nhi\n0\n\n", "502", true, false},
	{"size with a space behind", aOK + aCode + "\n2 \nhi\n0\n\n", "200 hi", false, true},
	{"chunk longer than its size", aOK + aCode + "\n1\nhi\n0\n\n", "502", true, false},
	{"length as a trailer", aOK + aCode + "\n2\nhi\n0\nContent-Length: 9\n\n", "200 hi", false, true},
	{"bad size behind a chunk", aOK + aCode + "\n2\nhi\nxy\n", "502", true, false},
	{"control character in a trailer's name", aOK + aCode + "\n2\nhi\n0\nX\x01: y\n\n", "502", true, false},
	{"bad size behind more than a packet", aOK + aCode + "\n10000\n" + strings.Repeat("x", 0x10000) + "\nxy\n", "half", true, false},
	{"length that is a list", aOK + "Content-Length: 2, 2\n\nhi", "200 hi", false, true},
	{"coding that is none", aOK + "Transfer-Encoding: identity\n" + aTwo + "\nhi", "200 hi", false, true},
	{"chunks by HTTP/1.0", "HTTP/1.0 200 OK\n" + aCode + "\n2\nhi\n0\n\n", "200 hi", false, false},
	{"chunks that end with LF alone", aOK + aCode + "\n2¶hi¶0¶¶", "200 hi", false, true},
	{"sizes with blanks and zeros", aOK + aCode + "\n0000002  \nhi\n000 \n\n", "200 hi", false, true},
	{"status 999", "HTTP/1.1 999 No\n" + aTwo + "\nhi", "999 hi", false, true},
	{"HTTP/1.2", "HTTP/1.2 200 OK\n" + aTwo + "\nhi", "200 hi", false, true},
	{"field whose name is none", aOK + "X(y): z\n" + aTwo + "\nhi", "200 hi", false, true},
	{"folded field", aOK + "X: a\n b\n" + aTwo + "\nhi", "200 hi", false, true},
	{"space before the colon", aOK + "X : a\n" + aTwo + "\nhi", "200 hi", false, true},
	{"bare LF", "HTTP/1.1 200 OK¶Content-Length: 2¶¶hi", "200 hi", false, true},
	{"CR in a value", aOK + "X: a\rSet-Cookie: b\n" + aTwo + "\nhi", "502", true, false},
	{"NUL in a value", aOK + "X: a\x00\n" + aTwo + "\nhi", "502", true, false},
	{"status 600", "HTTP/1.1 600 OK\n" + aTwo + "\nhi", "600 hi", false, true},
	{"status of two digits", "HTTP/1.1 20 OK\n" + aTwo + "\nhi", "502", true, false},
	{"HTTP/2", "HTTP/2 200 OK\n" + aTwo + "\nhi", "502", true, false},
	{"HTTP/0.9", "<html>hi</html>\nEOF", "502", true, false},
	{"unasked switch", "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\n\nhi", "502", true, false},
	{"interim without end", strings.Repeat("HTTP/1.1 103 Early Hints\n\n", 1000) + aOK + aTwo + "\nhi", "502", true, false},
	{"interim and final", "HTTP/1.1 103 Early Hints\nLink: </a>\n\n" + aOK + aTwo + "\nhi", "200 hi", false, true},
	{"unasked 100", "HTTP/1.1 100 Continue\n\n" + aOK + aTwo + "\nhi", "200 hi", false, true},
	{"interim with a length", "HTTP/1.1 103 Early Hints\n" + aTwo + "\n" + aOK + aTwo + "\nhi", "200 hi", false, false},
	{"204 with a length", "HTTP/1.1 204 No Content\n" + aTwo + "\n", "204", false, false},
	{"204 with chunks", "HTTP/1.1 204 No Content\n" + aCode + "\n0\n\n", "204", false, false},
	{"304 with a length", "HTTP/1.1 304 Not Modified\n" + aTwo + "\n", "304", false, true},
	{"304 with a body", "HTTP/1.1 304 Not Modified\n" + aTwo + "\nhi", "304", false, false},
	{"too many fields", aOK + strings.Repeat("X: y\n", 201) + aTwo + "\nhi", "502", true, false},
	{"too long a head", aOK + "X: " + strings.Repeat("y", 300_000) + "\n" + aTwo + "\nhi", "502", true, false},
}

func TestHostile_Answers(t *testing.T) {
	wire := strings.NewReplacer("\n", "\r\n", "¶", "\n", "EOF", "")
	for _, h := range hostileAnswers {
		t.Run(h.name, func(t *testing.T) {
			bothProtocols(t, func(t *testing.T, protocol string) {
				var conns atomic.Int64
				pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
					conns.Add(1)
					in := bufio.NewReader(c)
					for {
						r, err := http.ReadRequest(in)
						if err != nil {
							return
						}
						if r.URL.Path == "/again" {
							io.WriteString(c, wire.Replace(aOK+aTwo+"\nho"))
							continue
						}
						if io.WriteString(c, wire.Replace(h.send)); strings.HasSuffix(h.send, "EOF") {
							return
						}
					}
				}))
				f := serve(t, pool)
				client := f.client(protocol)
				if got := outcome(client, "/"); got != h.want {
					t.Errorf("got %q, want %q", got, h.want)
				}
				if r := b.next(); (r.err != nil) != h.blamed {
					t.Errorf("released with %v", r.err)
				}
				if got := outcome(client, "/again"); got != "200 ho" {
					t.Errorf("the next one got %q", got)
				}
				if kept := conns.Load() == 1; kept != h.kept {
					t.Errorf("%d connections", conns.Load())
				}
			})
		})
	}
}

// outcome is what a client gets, in a line.
func outcome(client *http.Client, path string) string {
	res, err := client.Get(base + path)
	if err != nil {
		return "half"
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return "half"
	case res.StatusCode == 502:
		return "502"
	}
	return strings.TrimSpace(res.Status[:3] + " " + string(body))
}
