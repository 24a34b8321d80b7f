package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// trial is an exchange: a request, and what the backend says to it.
type trial struct {
	id      string
	method  string
	target  string
	host    string
	header  http.Header
	body    []byte // nil: none
	known   bool   // its length is said first
	trailer http.Header
	close   bool
	answer  scriptedAnswer
}

func (tr *trial) String() string {
	return fmt.Sprintf("%s %s for %s %v, body of %d (known %v), trailer %v, close %v\n%.2000q",
		tr.method, tr.target, tr.host, tr.header, len(tr.body), tr.known, tr.trailer, tr.close, tr.answer.raw)
}

type framingKind int

const (
	byLength framingKind = iota
	byChunks
	byEnd
)

// scriptedAnswer is what a backend answers with.
type scriptedAnswer struct {
	raw     []byte
	framing framingKind
	dates   bool // it has a Date
	typed   bool // it has a Content-Type
	refuses bool // the body that waits for 100 (Continue) is not wanted
	closes  bool // the connection ends with it
}

func pick[T any](d *rand.Rand, from ...T) T { return from[d.IntN(len(from))] }

func chance(d *rand.Rand, percent int) bool { return d.IntN(100) < percent }

// newTrial makes up an exchange.
func newTrial(d *rand.Rand, protocol, id string) *trial {
	tr := &trial{
		id:     id,
		method: pick(d, "GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"),
		target: pick(d, "/", "/a/b.html", "/a%2Fb", "/?", "/x?y=z&q=a%20b", "//x//y", "/%E4%F6", "/a;p=1/b", "/a+b~c?d=e?f/g", "/?a[]=1|2"),
		host:   pick(d, www, www, www+":443", strings.ToUpper(www)),
		header: randomFields(d, protocol),
	}
	tr.close = protocol == "h1" && chance(d, 10)
	if tr.method != "HEAD" && tr.method != "OPTIONS" && chance(d, 60) || tr.method == "POST" {
		tr.body = randomBody(d)
		tr.known = chance(d, 60)
	}
	if len(tr.body) > 0 && !tr.known && chance(d, 30) {
		tr.trailer = http.Header{"X-Sum": {"42"}}
		if chance(d, 30) {
			tr.trailer["X-More"] = []string{"a", "b"}
		}
	}
	if protocol == "h1" && len(tr.body) > 0 && chance(d, 15) {
		tr.header.Set("Expect", "100-continue")
	}
	tr.answer = randomAnswer(d, tr)
	return tr
}

func randomBody(d *rand.Rand) []byte {
	body := make([]byte, pick(d, 0, 1, 100, 4095, 16<<10-1, 16<<10, 16<<10+1, 40_000, 150_000))
	for i := range body {
		body[i] = byte(d.Uint32())
	}
	return body
}

func randomFields(d *rand.Rand, protocol string) http.Header {
	h := http.Header{"User-Agent": {"trial"}}
	maybe := func(percent int, name string, values ...string) {
		if chance(d, percent) {
			h[name] = values
		}
	}
	maybe(50, "Accept", "*/*")
	maybe(30, "Accept-Encoding", "gzip, br;q=0.5")
	maybe(30, "Accept-Language", "de", "en;q=0.5")
	maybe(30, "Cookie", pick(d, "a=b", "a=b; c=d; e=f", `q="x; y"`))
	maybe(20, "Authorization", "Basic dTpw")
	maybe(20, "X-Empty", "")
	maybe(20, "X-Text", "a  b\tc, \"d;e\" f\xe4", "second")
	maybe(20, "Referer", base+"/x?y#z")
	maybe(10, "X-Forwarded-For", "203.0.113.9")
	maybe(10, "X-Real-Ip", "203.0.113.9")
	maybe(10, "Forwarded", "for=203.0.113.9;proto=http")
	maybe(10, "Te", "trailers")
	maybe(10, "Proxy-Authorization", "Basic dTpw")
	maybe(10, "Max-Forwards", "7")
	maybe(10, "Via", "1.1 before")
	maybe(10, "X-Long", strings.Repeat("long ", 1000)+"x")
	if protocol == "h1" {
		maybe(10, "Keep-Alive", "timeout=5")
		maybe(10, "Proxy-Connection", "keep-alive")
		if chance(d, 10) {
			h["X-Hop"], h["Connection"] = []string{"1"}, []string{"X-Hop"}
		}
		if chance(d, 5) {
			h["Upgrade"], h["Connection"] = []string{"h2c"}, []string{"Upgrade"}
		}
	}
	return h
}

// randomAnswer makes up what the backend says, byte by byte as it goes to the wire.
func randomAnswer(d *rand.Rand, tr *trial) (a scriptedAnswer) {
	var b bytes.Buffer
	if chance(d, 10) {
		b.WriteString("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
	}
	status := pick(d, 200, 200, 200, 200, 201, 204, 205, 206, 301, 302, 304, 400, 401, 403, 404, 410, 418, 429, 500, 503, 599)
	a.refuses = tr.header.Get("Expect") != "" && chance(d, 40)
	version := "1.1"
	a.framing = pick(d, byLength, byLength, byChunks, byChunks, byEnd)
	if a.framing != byChunks && chance(d, 10) {
		version = "1.0"
	}
	fmt.Fprintf(&b, "HTTP/%s %d %s\r\n", version, status, pick(d, "Fine", "OK", "With a long reason", ""))
	maybe := func(percent int, lines ...string) {
		if chance(d, percent) {
			b.WriteString(pick(d, lines...) + "\r\n")
		}
	}
	if a.dates = chance(d, 50); a.dates {
		b.WriteString("Date: Wed, 25 Nov 2026 10:00:00 GMT\r\n")
	}
	if a.typed = chance(d, 70); a.typed {
		b.WriteString(pick(d, "Content-Type: text/html; charset=utf-8\r\n", "content-type: application/octet-stream\r\n"))
	}
	maybe(30, "Server: scripted/1.0")
	maybe(30, "Set-Cookie: a=b; Path=/\r\nSet-Cookie: c=d")
	maybe(20, "Content-Encoding: gzip", "Cache-Control: no-store", "Etag: \"x\"", "Vary: Accept")
	maybe(20, "Location: http://elsewhere.example/", "Location: /x")
	maybe(10, "X-Text: a  b\tc \xe4", "X-Empty:", "X-Spaces:   around   ")
	maybe(10, "Keep-Alive: timeout=5", "Proxy-Connection: close")
	maybe(10, "Via: 1.1 behind", "Alt-Svc: h3=\":443\"", "Strict-Transport-Security: max-age=1")
	bodiless := tr.method == "HEAD" || status == 204 || status == 304
	a.closes = version == "1.0" || a.framing == byEnd || a.refuses || chance(d, 5)
	if a.closes && version == "1.1" && (a.framing != byEnd || bodiless) {
		b.WriteString("Connection: close\r\n")
	} else {
		maybe(10, "Connection: X-Hop\r\nX-Hop: 1") // beside a close net/http overlooks it
	}
	a.raw = appendBody(d, &b, &a, tr.method, status)
	return a
}

func appendBody(d *rand.Rand, b *bytes.Buffer, a *scriptedAnswer, method string, status int) []byte {
	body := randomBody(d)
	none := method == "HEAD" || status == 304
	switch {
	case status == 204:
		b.WriteString("\r\n")
	case a.framing == byLength:
		fmt.Fprintf(b, "Content-Length: %d\r\n\r\n", len(body))
		if !none {
			b.Write(body)
		}
	case a.framing == byEnd:
		b.WriteString("\r\n")
		if !none {
			b.Write(body)
		}
	default:
		trailers := !none && chance(d, 30)
		if trailers {
			b.WriteString("Trailer: X-Check\r\n")
		}
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		if none {
			break
		}
		for len(body) > 0 {
			n := 1 + d.IntN(len(body))
			fmt.Fprintf(b, "%x%s\r\n%s\r\n", n, pick(d, "", "", ";x=y"), body[:n])
			body = body[n:]
		}
		b.WriteString("0\r\n")
		if trailers {
			b.WriteString("X-Check: 1\r\n")
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// seenRequest is what a backend makes of a request.
type seenRequest struct {
	Method, Target, Host string
	Header               http.Header
	Body                 string
	Trailer              http.Header
	Framing              string
}

// scripted is a backend that answers each trial as that says, and tells what it saw.
type scripted struct {
	address string

	mu     sync.Mutex
	trials map[string]*expected
}

type expected struct {
	*trial
	heard chan seenRequest
}

func newScripted(t testing.TB) *scripted {
	s := &scripted{trials: map[string]*expected{}}
	s.address = rawBackend(t, s.serve)
	return s
}

// expect registers a trial, and returns where what is seen of it comes.
func (s *scripted) expect(tr *trial, front string) <-chan seenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &expected{tr, make(chan seenRequest, 2)}
	s.trials[tr.id+front] = e
	return e.heard
}

func (s *scripted) take(id string) *expected {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.trials[id]
	delete(s.trials, id)
	return e
}

func (s *scripted) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		e := s.take(r.Header.Get("X-Trial"))
		if e == nil || !s.exchange(c, r, e) {
			return
		}
	}
}

// exchange answers a request and says whether another may follow.
func (s *scripted) exchange(c net.Conn, r *http.Request, e *expected) bool {
	saw := seenRequest{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header}
	r.Header.Del("X-Trial")
	r.Header.Del("X-Request-Id")
	r.Header.Del("Via")
	if r.Header.Get("Connection") == "TE" {
		r.Header.Del("Connection")
	}
	saw.Framing = strings.Join(r.TransferEncoding, ",")
	if saw.Framing == "" && (r.ContentLength > 0 || r.Header.Get("Content-Length") != "") {
		saw.Framing = "length"
	}
	if len(e.body) == 0 {
		saw.Framing = ""
		r.Header.Del("Content-Length")
	}
	if r.Header.Get("Expect") != "" && !e.answer.refuses {
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	if !e.answer.refuses {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			saw.Body = "broken: " + err.Error()
		} else {
			saw.Body = string(body)
		}
		saw.Trailer = r.Trailer
	}
	e.heard <- saw
	_, err := c.Write(e.answer.raw)
	return err == nil && !e.answer.closes
}
