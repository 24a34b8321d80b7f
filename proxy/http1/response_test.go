package http1

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	ok    = "HTTP/1.1 200 OK\r\n"
	two   = "Content-Length: 2\r\n"
	coded = "Transfer-Encoding: chunked\r\n"
)

// Requests whose answers the table is about.
const (
	toGet   = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	toHead  = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
	toOld   = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
	toOlder = "GET / HTTP/1.0\r\nHost: a\r\n\r\n"
	toWS    = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
)

const (
	broke  = "broke"  // the client gets a 502, and nothing of the answer
	begins = "begins" // the answer broke within its body: the client gets no end of it
)

// answers are what comes from backends. want is what the client gets, in Unix
// lines, or broke or begins. reuse says whether the backend's connection may
// serve another call then.
var answers = []struct {
	name, request, raw, want string
	reuse                    bool
}{
	// Status lines.
	{"plain", toGet, ok + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"reason of its own", toGet, "HTTP/1.1 200 Fine by me\r\n" + two + crlf + "hi", "HTTP/1.1 200 Fine by me\nContent-Length: 2\n\nhi", true},
	{"empty reason", toGet, "HTTP/1.1 200 \r\n" + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"no reason", toGet, "HTTP/1.1 200\r\n" + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"reason not ASCII", toGet, "HTTP/1.1 200 \xc3\x9c\r\n" + two + crlf + "hi", "HTTP/1.1 200 \xc3\x9c\nContent-Length: 2\n\nhi", true},
	{"status of no name", toGet, "HTTP/1.1 299\r\n" + two + crlf + "hi", "HTTP/1.1 299 \nContent-Length: 2\n\nhi", true},
	{"status 599", toGet, "HTTP/1.1 599 x\r\n" + two + crlf + "hi", "HTTP/1.1 599 x\nContent-Length: 2\n\nhi", true},
	{"status 600", toGet, "HTTP/1.1 600 x\r\n" + two + crlf + "hi", "HTTP/1.1 600 x\nContent-Length: 2\n\nhi", true},
	{"status 099", toGet, "HTTP/1.1 099 x\r\n" + two + crlf + "hi", broke, false},
	{"status of two digits", toGet, "HTTP/1.1 20\r\n" + two + crlf + "hi", broke, false},
	{"status of four digits", toGet, "HTTP/1.1 2000 x\r\n" + two + crlf + "hi", broke, false},
	{"status with a sign", toGet, "HTTP/1.1 +20 x\r\n" + two + crlf + "hi", broke, false},
	{"two spaces before the status", toGet, "HTTP/1.1  200 x\r\n" + two + crlf + "hi", "HTTP/1.1 200 x\nContent-Length: 2\n\nhi", true},
	{"control in the reason", toGet, "HTTP/1.1 200 a\x00b\r\n" + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"HTTP/2", toGet, "HTTP/2.0 200 OK\r\n" + two + crlf + "hi", broke, false},
	{"HTTP/0.9", toGet, "<html>hi</html>\r\n", broke, false},
	{"lower case", toGet, "http/1.1 200 OK\r\n" + two + crlf + "hi", broke, false},
	{"another protocol", toGet, "ICY 200 OK\r\n" + two + crlf + "hi", broke, false},
	{"empty line before", toGet, crlf + ok + two + crlf + "hi", broke, false},
	{"bare LF", toGet, "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"nothing", toGet, "", broke, false},
	{"half a head", toGet, ok + two, broke, false},

	// Fields.
	{"order and case are kept", toGet, ok + "b: 1\r\nA: 2\r\nb: 3\r\n" + two + crlf + "hi", "HTTP/1.1 200 OK\nb: 1\nA: 2\nb: 3\nContent-Length: 2\n\nhi", true},
	{"hop by hop", toGet, ok + two + "Connection: x\r\nX: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Authenticate: x\r\nTE: x\r\nY: 1\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nY: 1\nContent-Length: 2\n\nhi", true},
	{"folded", toGet, ok + two + "X: a\r\n b\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nX: a b\nContent-Length: 2\n\nhi", true},
	{"space before the colon", toGet, ok + two + "X : a\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nX: a\nContent-Length: 2\n\nhi", true},
	{"no colon", toGet, ok + two + "X\r\n" + crlf + "hi", broke, false},
	{"NUL in a value", toGet, ok + two + "X: \x00\r\n" + crlf + "hi", broke, false},
	{"bare CR in a value", toGet, ok + two + "X: a\rb\r\n" + crlf + "hi", broke, false},
	{"bare LF in a head", toGet, ok + two + "X: a\nY: b\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nX: a\nY: b\nContent-Length: 2\n\nhi", true},
	{"name not a token", toGet, ok + two + "X(: a\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"name with an underscore", toGet, ok + two + "X_Y: a\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nX_Y: a\nContent-Length: 2\n\nhi", true},
	{"too many fields", toGet, ok + strings.Repeat("X: 1\r\n", 201) + crlf, broke, false},
	{"head too long", toGet, ok + "X: " + strings.Repeat("a", 257<<10) + crlf + crlf, broke, false},
	{"large head", toGet, ok + "X: " + strings.Repeat("a", 200<<10) + crlf + two + crlf + "hi", "HTTP/1.1 200 OK\nX: " + strings.Repeat("a", 200<<10) + "\nContent-Length: 2\n\nhi", true},
	{"expectation means nothing", toGet, ok + two + "Expect: x\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},

	{"status 999", toGet, "HTTP/1.1 999 x\r\n" + two + crlf + "hi", "HTTP/1.1 999 x\nContent-Length: 2\n\nhi", true},
	{"status with a second part", toGet, "HTTP/1.1 403.14 x\r\n" + two + crlf + "hi", "HTTP/1.1 403 x\nContent-Length: 2\n\nhi", true},
	{"status with a second part of letters", toGet, "HTTP/1.1 403.x x\r\n" + two + crlf + "hi", broke, false},
	{"HTTP/1.2", toGet, "HTTP/1.2 200 OK\r\n" + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"folded by a tab, twice", toGet, ok + two + "X: a\r\n\tb\r\n c\r\nY: d\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nX: a b c\nY: d\nContent-Length: 2\n\nhi", true},
	{"folded from the start", toGet, ok + two + "X:\r\n b\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nX: b\nContent-Length: 2\n\nhi", true},
	{"folded length", toGet, ok + "Content-Length:\r\n 2\r\n" + crlf + "hi", broke, false},
	{"folded connection", toGet, ok + two + "Connection: x,\r\n close\r\nX: y\r\n" + crlf + "hi", broke, false},
	{"folded behind a length", toGet, ok + "X: y\r\n" + two + " 3\r\n" + crlf + "hi", broke, false},
	{"folded behind nothing", toGet, ok + " X: y\r\n" + two + crlf + "hi", broke, false},
	{"control in a folded line", toGet, ok + two + "X: y\r\n \x00\r\n" + crlf + "hi", broke, false},
	{"too many folded lines", toGet, ok + two + "X: y\r\n" + strings.Repeat(" z\r\n", 200) + crlf + "hi", broke, false},
	{"length with a space before the colon", toGet, ok + "Content-Length : 2\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"no name", toGet, ok + two + ": a\r\n" + crlf + "hi", broke, false},
	{"NUL in a name", toGet, ok + two + "X\x00: a\r\n" + crlf + "hi", broke, false},
	{"name of two words", toGet, ok + two + "X Y: a\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"control in a value", toGet, ok + two + "X: a\x01b\x7fc\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nX: a b c\nContent-Length: 2\n\nhi", true},
	{"two CRs at a line's end", toGet, "HTTP/1.1 200 OK\r\r\n" + two + "\r\r\n" + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},

	// Lengths and codings.
	{"list of lengths that differ", toGet, ok + "Content-Length: 2, 3\r\n" + crlf + "hi", broke, false},
	{"no length in its field", toGet, ok + "Content-Length:\r\n" + crlf + "hi", broke, false},
	{"identity until the end", toGet, ok + "Transfer-Encoding: identity\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n", false},
	{"identity and chunked", toGet, ok + "Transfer-Encoding: identity\r\n" + coded + crlf + "2\r\nhi\r\n0\r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n", true},
	{"chunk size with zeros", toGet, ok + coded + crlf + strings.Repeat("0", 40) + "2\r\nhi\r\n0000\r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n", true},
	{"chunk size with zeros without end", toGet, ok + coded + crlf + strings.Repeat("0", 5000) + "2\r\nhi\r\n0\r\n\r\n", begins, false},
	{"chunk size with blanks", toGet, ok + coded + crlf + "2     \t\r\nhi\r\n0     \r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n", true},
	{"chunk size with blanks and more", toGet, ok + coded + crlf + "2 2\r\nhi\r\n0\r\n\r\n", begins, false},
	{"chunk size with blanks before", toGet, ok + coded + crlf + " 2\r\nhi\r\n0\r\n\r\n", begins, false},
	{"chunks that end with LF alone", toGet, ok + coded + crlf + "2\nhi\n2;x\nhi\n0\n\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n2\nhi\n0\n\n", true},
	{"trailers that end with LF alone", toGet, ok + coded + crlf + "2\nhi\n0\nX: 1\n\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\nX: 1\n\n", true},
	{"length of zero", toGet, ok + "Content-Length: 0\r\n" + crlf, "HTTP/1.1 200 OK\nContent-Length: 0\n\n", true},
	{"two lengths", toGet, ok + two + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"two lengths that differ", toGet, ok + two + "Content-Length: 3\r\n" + crlf + "hi", broke, false},
	{"list of lengths", toGet, ok + "Content-Length: 2, 2\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"length with a sign", toGet, ok + "Content-Length: +2\r\n" + crlf + "hi", broke, false},
	{"coding and length", toGet, ok + two + coded + crlf + "2\r\nhi\r\n0\r\n\r\n", broke, false},
	{"coding in HTTP/1.0", toGet, "HTTP/1.0 200 OK\r\n" + coded + crlf + "2\r\nhi\r\n0\r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n", false},
	{"coding twice", toGet, ok + coded + coded + crlf + "2\r\nhi\r\n0\r\n\r\n", broke, false},
	{"gzip", toGet, ok + "Transfer-Encoding: gzip\r\n" + crlf + "hi", broke, false},
	{"gzip and chunked", toGet, ok + "Transfer-Encoding: gzip, chunked\r\n" + crlf + "2\r\nhi\r\n0\r\n\r\n", broke, false},
	{"identity", toGet, ok + "Transfer-Encoding: identity\r\n" + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"chunked", toGet, ok + coded + crlf + "2\r\nhi\r\n0\r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n", true},
	{"chunked and trailers", toGet, ok + coded + crlf + "2\r\nhi\r\n0\r\nX: 1\r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\nX: 1\n\n", true},
	{"trailer with an underscore", toGet, ok + coded + crlf + "0\r\nX_Y: 1\r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n0\nX_Y: 1\n\n", true},
	{"chunked to HTTP/1.0", toOld, ok + coded + crlf + "2\r\nhi\r\n0\r\nX: 1\r\n\r\n", "HTTP/1.1 200 OK\nConnection: close\n\nhi", true},
	{"until the end", toGet, ok + crlf + "hi", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n", false},
	{"until the end to HTTP/1.0", toOld, ok + crlf + "hi", "HTTP/1.1 200 OK\nConnection: close\n\nhi", false},
	{"nothing until the end", toGet, ok + crlf, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n0\n\n", false},
	{"until the end by HTTP/1.0", toGet, "HTTP/1.0 200 OK\r\n\r\nhi", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n", false},
	{"length cut short", toGet, ok + "Content-Length: 5\r\n\r\nhi", begins, false},
	{"chunks cut short", toGet, ok + coded + crlf + "2\r\nhi\r\n", begins, false},
	{"trailer on two lines", toGet, ok + coded + crlf + "2\r\nhi\r\n0\r\nX: 1\r\n Y: 2\r\n\r\n", begins, false},
	{"chunks without an end of trailers", toGet, ok + coded + crlf + "2\r\nhi\r\n0\r\n", begins, false},
	{"chunk size with space", toGet, ok + coded + crlf + "2\r\nhi\r\n2 \r\nhi\r\n0\r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n2\nhi\n0\n\n", true},
	{"chunk with a bare LF", toGet, ok + coded + crlf + "2\r\nhi\r\n2\nhi\r\n0\r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n2\nhi\n0\n\n", true},
	{"chunk too long", toGet, ok + coded + crlf + "2\r\nhi!\r\n0\r\n\r\n", begins, false},
	{"trailer of length", toGet, ok + coded + crlf + "2\r\nhi\r\n0\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n", true},
	{"more than the length", toGet, ok + two + crlf + "hi!", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", false},
	{"another answer behind", toGet, ok + two + crlf + "hi" + ok + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", false},

	// Answers that have no body, whatever they say.
	{"HEAD with a length", toHead, ok + "Content-Length: 5\r\n" + crlf, "HTTP/1.1 200 OK\nContent-Length: 5\n\n", true},
	{"HEAD with a coding", toHead, ok + coded + crlf, "HTTP/1.1 200 OK\n\n", true},
	{"HEAD with nothing", toHead, ok + crlf, "HTTP/1.1 200 OK\n\n", true},
	{"HEAD with a body", toHead, ok + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\n", false},
	{"204", toGet, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\n\n", true},
	{"204 with a length of zero", toGet, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\n\n", true},
	{"204 with a body", toGet, "HTTP/1.1 204 No Content\r\n" + two + crlf + "hi", "HTTP/1.1 204 No Content\n\n", false},
	{"204 with a coding", toGet, "HTTP/1.1 204 No Content\r\n" + coded + crlf, "HTTP/1.1 204 No Content\n\n", false},
	{"304", toGet, "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", "HTTP/1.1 304 Not Modified\nETag: x\n\n", true},
	{"304 with a length", toGet, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", true},
	{"205", toGet, "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 205 Reset Content\nContent-Length: 0\n\n", true},

	// Interim answers.
	{"103", toGet, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + two + crlf + "hi", "HTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"100 and 103", toGet, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + ok + two + crlf + "hi", "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"103 to HTTP/1.0", toOld, "HTTP/1.1 103 Early Hints\r\n\r\n" + ok + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\nConnection: keep-alive\n\nhi", true},
	{"103 with a length of zero", toGet, "HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n" + ok + two + crlf + "hi", "HTTP/1.1 103 Early Hints\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"103 and nothing", toGet, "HTTP/1.1 103 Early Hints\r\n\r\n", begins, false},
	{"103 for ever", toGet, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000) + ok + two + crlf + "hi", begins, false},
	{"101 unasked", toGet, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", broke, false},
	{"101 to another protocol", toWS, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", broke, false},
	{"101 without the option", toWS, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", broke, false},
	{"101 without a protocol", toWS, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n", broke, false},
	{"101", toWS, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX: 1\r\n\r\nhi", "HTTP/1.1 101 Switching Protocols\nX: 1\nConnection: Upgrade\nUpgrade: websocket\n\nhi", false},
	{"no 101 though asked", toWS, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n" + two + crlf + "hi", "HTTP/1.1 426 Upgrade Required\nContent-Length: 2\n\nhi", true},

	// Who goes on.
	{"close", toGet, ok + two + "Connection: close\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", false},
	{"close in capitals in a list", toGet, ok + two + "Connection: x, CLOSE\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", false},
	{"close and keep-alive", toGet, ok + two + "Connection: keep-alive\r\nConnection: close\r\n" + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", false},
	{"HTTP/1.0", toGet, "HTTP/1.0 200 OK\r\n" + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", false},
	{"HTTP/1.0 with keep-alive", toGet, "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"to HTTP/1.0", toOlder, ok + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\nConnection: close\n\nhi", true},
	{"to HTTP/1.0 with keep-alive", toOld, ok + two + crlf + "hi", "HTTP/1.1 200 OK\nContent-Length: 2\nConnection: keep-alive\n\nhi", true},
}

func TestAnswers(t *testing.T) {
	for _, c := range answers {
		for _, piece := range []int{0, 1, 7} {
			got, reuse, err := answerScript(t, c.request, c.raw, piece)
			if err := checkAnswerCase(got, c.want, err); err != nil {
				t.Errorf("%s, %d bytes a read: %v\nclient: %.300q", c.name, piece, err, got)
			}
			// What comes later, byte by byte, is for Alive to see.
			if reuse != c.reuse && piece == 0 {
				t.Errorf("%s, %d bytes a read: reusable %v", c.name, piece, reuse)
			}
		}
	}
	if len(answers) < 60 {
		t.Errorf("only %d", len(answers))
	}
}

// answerScript relays one request to a backend that says answer. A client's
// connection that is reset in the end has that written behind what it got.
func answerScript(t *testing.T, request, answer string, piece int) (got string, reuse bool, err error) {
	t.Helper()
	client := &script{in: []byte(request)}
	conn := NewServerConn(client, Config{}.WithDefaults())
	defer conn.Close()
	x, err := conn.Next()
	if err != nil {
		t.Fatal(err)
	}
	b := NewClientConn(&script{in: []byte(answer), piece: piece}, ClientConfig{}.WithDefaults())
	if err = relay(x, b); err != nil {
		answerFor(t, x, err)
	}
	reuse = b.Release()
	if _, err := conn.Next(); errors.Is(err, ErrReset) {
		client.out.WriteString("…reset")
	}
	return client.out.String(), reuse, err
}

func checkAnswerCase(got, want string, err error) error {
	switch want {
	case broke:
		if !strings.HasPrefix(got, "HTTP/1.1 502 ") || !errors.As(err, new(backendError)) {
			return errors.New("the answer got through")
		}
	case begins:
		told := strings.HasSuffix(got, "…reset") && !strings.HasSuffix(got, "\n0\r\n\r\n…reset") || strings.Contains(got, "HTTP/1.1 502 ")
		if !told || !errors.As(err, new(backendError)) {
			return errors.New("the answer did not break off")
		}
	default:
		if got = unixText(got); unchunk(got) != unchunk(want) {
			return errors.New("the client got something else")
		}
	}
	return nil
}

// A backend that works on a request for an hour may say so each second.
func TestCall_InterimResponsesAreBoundedByTheirRate(t *testing.T) {
	for name, tc := range map[string]struct {
		every  time.Duration
		length int
		ends   bool
	}{
		"each second":            {time.Second, 30, false},
		"each second, long":      {time.Second, 40 << 10, false},
		"eight a second":         {time.Second / interimRate, 30, false},
		"at once":                {0, 30, true},
		"each millisecond":       {time.Millisecond, 30, true},
		"each second, as can be": {time.Second, 256 << 10, true},
	} {
		x := &Call{interim: interimBurst}
		var err *Error
		for i := 0; i < 3600 && err == nil; i++ {
			x.lastly = time.Since(epoch) - tc.every // so much later
			err = x.countInterim(tc.length)
		}
		if (err == errManyHeads) != tc.ends {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseKeepAlive(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "max=100": 0, "x": 0, "timeout": 0, "timeout=-5": 0,
		"timeout=5": 4 * time.Second, "timeout=5, max=100": 4 * time.Second, "max=100,TIMEOUT=15": 14 * time.Second,
		"timeout=1": time.Second / 2, "timeout=2": time.Second,
		"timeout=0": -1, "timeout=5,max=0": -1,
		"timeout=99999999999": maxKeepAlive*time.Second - time.Second,
	} {
		if got := parseKeepAlive([]byte(value)); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}
