package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// recorder is a backend that answers each request with "ok", and remembers what it
// makes of what it gets.
type recorder struct {
	address string
	saw     chan string
}

func newRecorder(t testing.TB) *recorder {
	r := &recorder{saw: make(chan string, 1000)}
	r.address = rawBackend(t, r.serve)
	return r
}

func (r *recorder) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		if _, err := in.Peek(1); err != nil {
			return
		}
		req, err := http.ReadRequest(in)
		if err != nil {
			r.saw <- "malformed: " + err.Error()
			return
		}
		if req.Header.Get("Expect") != "" && !strings.HasPrefix(req.RequestURI, "/take") {
			r.saw <- view(req, "", nil)
			io.WriteString(c, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
		if req.Header.Get("Expect") != "" {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		body, err := io.ReadAll(req.Body)
		if r.saw <- view(req, string(body), err); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
		if req.Method != "HEAD" {
			io.WriteString(c, "ok")
		}
	}
}

// view is a request in a line. Each must have been written by the front, which the
// address that it adds shows: whatever came through in a body lacks that.
func view(r *http.Request, body string, err error) string {
	line := r.Method + " " + r.RequestURI
	if !strings.EqualFold(r.Host, www) {
		line += " for " + r.Host
	}
	if len(body) > 40 {
		body = strconv.Itoa(len(body)) + " bytes"
	}
	if body != "" || err != nil {
		line += " " + body
	}
	if err != nil {
		line += " cut"
	}
	for name := range r.Trailer {
		line += " +" + name
	}
	if got := r.Header["X-Forwarded-For"]; !slices.Equal(got, []string{"127.0.0.1"}) || len(r.Header["Forwarded"]) != 1 {
		line += fmt.Sprintf(" SMUGGLED %q", got)
	}
	return line
}

// rest is what was seen and nobody has asked for.
func (r *recorder) rest() (lines []string) {
	for {
		select {
		case line := <-r.saw:
			lines = append(lines, line)
		default:
			return lines
		}
	}
}

const (
	hHost    = "Host: " + www + "\n"
	hChunked = "Transfer-Encoding: chunked\n"
	probe    = "GET /probe HTTP/1.1\n" + hHost + "Connection: close\n\n"
)

// hostile are requests as they come, in lines that end with CRLF; ¶ is a bare LF.
// What is smuggled in them is always "GET /evil". want are the statuses that the client gets,
// and then whether its connection is kept or closed; "eof" before that has the
// client end its half first. saw is what reaches the backend.
var hostile = []struct{ name, send, want, saw string }{
	// Two lengths, of which each parser takes another.
	{"CL.TE", "POST / HTTP/1.1\n" + hHost + "Content-Length: 30\n" + hChunked + "\n0\n\nGET /evil HTTP/1.1\n" + hHost + "\n", "400 closed", ""},
	{"TE.CL", "POST / HTTP/1.1\n" + hHost + hChunked + "Content-Length: 4\n\n1e\nGET /evil HTTP/1.1\n" + hHost + "\n\n0\n\n", "400 closed", ""},
	{"two lengths", "POST / HTTP/1.1\n" + hHost + "Content-Length: 0\nContent-Length: 30\n\nGET /evil HTTP/1.1\n" + hHost + "\n", "400 closed", ""},
	{"the same length twice", "POST / HTTP/1.1\n" + hHost + "Content-Length: 1\nContent-Length: 1\n\nx", "400 closed", ""},
	{"list of lengths", "POST / HTTP/1.1\n" + hHost + "Content-Length: 1, 1\n\nx", "400 closed", ""},
	{"length with a sign", "POST / HTTP/1.1\n" + hHost + "Content-Length: +1\n\nx", "400 closed", ""},
	{"length in hexadecimal", "POST / HTTP/1.1\n" + hHost + "Content-Length: 0x1\n\nx", "400 closed", ""},
	{"length with a space inside", "POST / HTTP/1.1\n" + hHost + "Content-Length: 1 0\n\nx", "400 closed", ""},
	{"length beyond what counts", "POST / HTTP/1.1\n" + hHost + "Content-Length: 18446744073709551617\n\nx", "400 closed", ""},
	{"no length", "POST / HTTP/1.1\n" + hHost + "Content-Length:\n\nx", "400 closed", ""},
	{"length with zeroes before", "POST / HTTP/1.1\n" + hHost + "Content-Length: 001\n\nx", "200 kept", "POST / x"},
	{"GET with a body", "GET / HTTP/1.1\n" + hHost + "Content-Length: 9\n\nGET /evil", "200 kept", "GET / GET /evil"},
	{"GET with a body in chunks", "GET / HTTP/1.1\n" + hHost + hChunked + "\n9\nGET /evil\n0\n\n", "200 kept", "GET / GET /evil"},
	{"HEAD with a body", "HEAD / HTTP/1.1\n" + hHost + "Content-Length: 9\n\nGET /evil", "200 kept", "HEAD / GET /evil"},

	// A coding that only some see.
	{"coding with a tab before the colon", "POST / HTTP/1.1\n" + hHost + "Transfer-Encoding\t: chunked\n\n0\n\n", "400 closed", ""},
	{"coding with a space before the colon", "POST / HTTP/1.1\n" + hHost + "Transfer-Encoding : chunked\n\n0\n\n", "400 closed", ""},
	{"coding with a vertical tab", "POST / HTTP/1.1\n" + hHost + "Transfer-Encoding: \x0bchunked\n\n0\n\n", "400 closed", ""},
	{"coding twice", "POST / HTTP/1.1\n" + hHost + hChunked + hChunked + "\n0\n\n", "400 closed", ""},
	{"coding and identity", "POST / HTTP/1.1\n" + hHost + hChunked + "Transfer-Encoding: identity\n\n0\n\n", "400 closed", ""},
	{"identity", "POST / HTTP/1.1\n" + hHost + "Transfer-Encoding: identity\nContent-Length: 1\n\nx", "400 closed", ""},
	{"chunked within others", "POST / HTTP/1.1\n" + hHost + "Transfer-Encoding: chunked, gzip\n\n0\n\n", "400 closed", ""},
	{"gzip and chunked", "POST / HTTP/1.1\n" + hHost + "Transfer-Encoding: gzip, chunked\n\n0\n\n", "501 closed", ""},
	{"quoted coding", "POST / HTTP/1.1\n" + hHost + "Transfer-Encoding: \"chunked\"\n\n0\n\n", "400 closed", ""},
	{"coding on a folded line", "POST / HTTP/1.1\n" + hHost + "Transfer-Encoding:\n chunked\n\n0\n\n", "400 closed", ""},
	{"coding behind a bare LF", "POST / HTTP/1.1\n" + hHost + "X: y¶Transfer-Encoding: chunked\n\n0\n\n", "400 closed", ""},
	{"coding behind a bare CR", "POST / HTTP/1.1\n" + hHost + "X: y\rTransfer-Encoding: chunked\n\n0\n\n", "400 closed", ""},
	{"coding in HTTP/1.0", "POST / HTTP/1.0\n" + hHost + hChunked + "\n0\n\n", "400 closed", ""},
	{"coding in capitals", "POST / HTTP/1.1\n" + hHost + "TRANSFER-ENCODING: CHUNKED\n\n1\nx\n0\n\n", "200 kept", "POST / x"},
	{"coding with an underscore", "POST / HTTP/1.1\n" + hHost + "Transfer_Encoding: chunked\nContent-Length: 1\n\nx", "400 closed", ""},
	{"coding that Connection names", "POST / HTTP/1.1\n" + hHost + hChunked + "Connection: Transfer-Encoding\n\n1\nx\n0\n\n", "200 kept", "POST / x"},
	{"length that Connection names", "POST / HTTP/1.1\n" + hHost + "Content-Length: 9\nConnection: Content-Length\n\nGET /evil", "200 kept", "POST / GET /evil"},
	{"address that Connection names", "GET / HTTP/1.1\n" + hHost + "Connection: X-Forwarded-For, Forwarded\nX-Forwarded-For: 1.2.3.4\n\n", "200 kept", "GET /"},

	// Chunks. What breaks at once leaves nothing at the backend: the head waits for the body.
	{"chunk ends with a bare LF", "POST / HTTP/1.1\n" + hHost + hChunked + "\n1¶x\n0\n\n", "400 closed", ""},
	{"data ends with a bare LF", "POST / HTTP/1.1\n" + hHost + hChunked + "\n1\nx¶0\n\n", "400 closed", ""},
	{"size with a space behind", "POST / HTTP/1.1\n" + hHost + hChunked + "\n1 \nx\n0\n\n", "400 closed", ""},
	{"size with a sign", "POST / HTTP/1.1\n" + hHost + hChunked + "\n+1\nx\n0\n\n", "400 closed", ""},
	{"size with 0x", "POST / HTTP/1.1\n" + hHost + hChunked + "\n0x1\nx\n0\n\n", "400 closed", ""},
	{"size that overflows", "POST / HTTP/1.1\n" + hHost + hChunked + "\n10000000000000001\nx\n0\n\n", "400 closed", ""},
	{"data longer than its size", "POST / HTTP/1.1\n" + hHost + hChunked + "\n1\nxyz\n0\n\n", "400 closed", ""},
	{"extensions end here", "POST / HTTP/1.1\n" + hHost + hChunked + "\n1;a=\"b\"\nx\n0;c\n\n", "200 kept", "POST / x"},
	{"extension with a bare LF", "POST / HTTP/1.1\n" + hHost + hChunked + "\n1;a¶b\nx\n0\n\n", "400 closed", ""},
	{"length as a trailer", "POST / HTTP/1.1\n" + hHost + hChunked + "\n1\nx\n0\nContent-Length: 5\n\n", "400 closed", ""},
	{"coding as a trailer", "POST / HTTP/1.1\n" + hHost + hChunked + "\n1\nx\n0\nTransfer-Encoding: chunked\n\n", "400 closed", ""},
	{"host as a trailer", "POST / HTTP/1.1\n" + hHost + hChunked + "\n1\nx\n0\nHost: evil\n\n", "400 closed", ""},
	{"address as a trailer", "POST / HTTP/1.1\n" + hHost + hChunked + "\n1\nx\n0\nX-Forwarded-For: 1.2.3.4\n\n", "200 kept", "POST / x"},
	{"body without its end", "POST / HTTP/1.1\n" + hHost + hChunked + "\n5\nhel", "eof 400 closed", "POST / hel cut"},
	{"short body of known length", "POST / HTTP/1.1\n" + hHost + "Content-Length: 5\n\nhel", "eof 400 closed", ""},

	// Whose request it is.
	{"two hosts", "GET / HTTP/1.1\n" + hHost + "Host: evil\n\n", "400 closed", ""},
	{"no host", "GET / HTTP/1.1\n\n", "400 closed", ""},
	{"host of another site", "GET / HTTP/1.1\nHost: evil.example\n\n", "421 kept", ""},
	{"host with a user", "GET / HTTP/1.1\nHost: evil@" + www + "\n\n", "400 closed", ""},
	{"host with a path", "GET / HTTP/1.1\nHost: " + www + "/x\n\n", "400 closed", ""},
	{"target of another host", "GET https://evil.example/ HTTP/1.1\n" + hHost + "\n", "400 closed", ""},
	{"target of the host", "GET https://" + www + "/x HTTP/1.1\n" + hHost + "\n", "200 kept", "GET /x"},
	{"target by http", "GET http://" + www + "/x HTTP/1.1\n" + hHost + "\n", "421 closed", ""},
	{"target with another scheme", "GET ftp://" + www + "/x HTTP/1.1\n" + hHost + "\n", "400 closed", ""},
	{"target without a slash", "GET x HTTP/1.1\n" + hHost + "\n", "400 closed", ""},
	{"asterisk", "OPTIONS * HTTP/1.1\n" + hHost + "\n", "200 kept", "OPTIONS *"},
	{"asterisk of GET", "GET * HTTP/1.1\n" + hHost + "\n", "400 closed", ""},
	{"dot segments", "GET /a/../evil HTTP/1.1\n" + hHost + "\n", "400 kept", ""},
	{"dot segments in code", "GET /a/%2e%2E%2fevil HTTP/1.1\n" + hHost + "\n", "400 kept", ""},
	{"NUL in the path", "GET /a%00 HTTP/1.1\n" + hHost + "\n", "400 kept", ""},
	{"query with a request", "GET /?a%0d%0aGET%20/evil HTTP/1.1\n" + hHost + "\n", "200 kept", "GET /?a%0d%0aGET%20/evil"},
	{"CR in a value", "GET / HTTP/1.1\n" + hHost + "X: a\rb\n\n", "400 closed", ""},
	{"NUL in a value", "GET / HTTP/1.1\n" + hHost + "X: a\x00b\n\n", "400 closed", ""},

	// Other methods and versions.
	{"TRACE", "TRACE / HTTP/1.1\n" + hHost + "\n", "405 kept", ""},
	{"CONNECT", "CONNECT " + www + ":443 HTTP/1.1\nHost: " + www + ":443\n\nGET /evil HTTP/1.1\n" + hHost + "\n", "405 closed", ""},
	{"method in lower case", "get / HTTP/1.1\n" + hHost + "\n", "200 kept", "get /"},
	{"HTTP/0.9", "GET /\n\n", "400 closed", ""},
	{"HTTP/1.2", "GET / HTTP/1.2\n" + hHost + "\n", "200 kept", "GET /"},
	{"preface of HTTP/2", "PRI * HTTP/2.0\n\nSM\n\n", "505 closed", ""},
	{"TLS within TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400 closed", ""},
	{"HTTP/1.0", "GET / HTTP/1.0\n" + hHost + "\nGET /evil HTTP/1.1\n" + hHost + "\n", "200 closed", "GET /"},
	{"HTTP/1.0 that is kept", "GET / HTTP/1.0\n" + hHost + "Connection: keep-alive\n\n", "200 kept", "GET /"},
	{"what comes behind a close", "GET / HTTP/1.1\n" + hHost + "Connection: close\n\nGET /evil HTTP/1.1\n" + hHost + "\n", "200 closed", "GET /"},
	{"upgrade to h2c", "GET / HTTP/1.1\n" + hHost + "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk\n\n", "200 kept", "GET /"},

	// Requests in a row.
	{"two", "GET /1 HTTP/1.1\n" + hHost + "\nGET /2 HTTP/1.1\n" + hHost + "\n", "200 200 kept", "GET /1; GET /2"},
	{"a good one and a bad one", "GET /1 HTTP/1.1\n" + hHost + "\nGET /2 HTTP/1.1\n\n", "200 400 closed", "GET /1"},
	{"body and request", "POST /1 HTTP/1.1\n" + hHost + "Content-Length: 1\n\nxGET /2 HTTP/1.1\n" + hHost + "\n", "200 200 kept", "POST /1 x; GET /2"},
	{"chunks and request", "POST /1 HTTP/1.1\n" + hHost + hChunked + "\n1\nx\n0\n\nGET /2 HTTP/1.1\n" + hHost + "\n", "200 200 kept", "POST /1 x; GET /2"},
	{"empty line between", "GET /1 HTTP/1.1\n" + hHost + "\n\nGET /2 HTTP/1.1\n" + hHost + "\n", "200 200 kept", "GET /1; GET /2"},

	// Expectations.
	{"expectation that is met", "POST /take HTTP/1.1\n" + hHost + "Content-Length: 1\nExpect: 100-continue\n\nx", "100 200 kept", "POST /take x"},
	{"expectation that is not", "POST / HTTP/1.1\n" + hHost + "Content-Length: 30\nExpect: 100-continue\n\nGET /evil HTTP/1.1\n" + hHost + "\n", "417 closed", "POST /"},
	{"another expectation", "POST / HTTP/1.1\n" + hHost + "Content-Length: 1\nExpect: 200-ok\n\nx", "417 closed", ""},
	{"expectation of HTTP/1.0", "POST / HTTP/1.0\n" + hHost + "Content-Length: 1\nExpect: 100-continue\n\nx", "200 closed", "POST / x"},

	// Bounds.
	{"many fields", "GET / HTTP/1.1\n" + hHost + strings.Repeat("X: y\n", 100) + "\n", "431 closed", ""},
	{"long field", "GET / HTTP/1.1\n" + hHost + "X: " + strings.Repeat("y", 70_000) + "\n\n", "431 closed", ""},
	{"long target", "GET /" + strings.Repeat("y", 66_000) + " HTTP/1.1\n" + hHost + "\n", "414 closed", ""},
	{"many options", "GET / HTTP/1.1\n" + hHost + "Connection: " + strings.Repeat("a,", 20) + "\n\n", "400 closed", ""},
}

func TestHostile_Requests(t *testing.T) {
	backend := newRecorder(t)
	pool, _ := poolOf(t, backend.address)
	f := serve(t, pool)
	wire := strings.NewReplacer("\n", "\r\n", "¶", "\n")
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			c := f.dial(www)
			defer c.Close()
			io.WriteString(c, wire.Replace(h.send))
			statuses := strings.Fields(h.want)
			fate := statuses[len(statuses)-1]
			statuses = statuses[:len(statuses)-1]
			if statuses[0] == "eof" {
				c.Conn.(*tls.Conn).CloseWrite()
				statuses = statuses[1:]
			}
			for _, want := range statuses {
				if got := c.status(h.send); got != want {
					t.Fatalf("status %s, want %s", got, want)
				}
			}
			saw := strings.Split(h.saw, "; ")
			if h.saw == "" {
				saw = nil
			}
			if fate == "kept" {
				io.WriteString(c, wire.Replace(probe))
				saw = append(saw, "GET /probe")
				if got := c.status(probe); got != "200" {
					t.Errorf("the connection was not kept: %s", got)
				}
			}
			if p, err := c.r.ReadByte(); err == nil {
				t.Errorf("more came: %q", p)
			}
			c.Close()
			if !f.server.clients.wait(t.Context()) {
				t.Fatal("the connection did not end")
			}
			var got []string
			for range saw {
				got = append(got, await(t, "what the backend sees", backend.saw))
			}
			if got = append(got, backend.rest()...); !slices.Equal(got, saw) {
				t.Errorf("the backend saw %q, want %q", got, saw)
			}
		})
	}
}

// status reads an answer to a request, and returns its status.
func (c *raw) status(request string) string {
	c.t.Helper()
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return err.Error()
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err.Error()
	}
	return strconv.Itoa(res.StatusCode)
}
