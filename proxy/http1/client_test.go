package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sallyport/proxy/message"
)

func getRequest() *message.Request {
	return &message.Request{Method: []byte("GET"), Path: []byte("/"), Authority: []byte("a")}
}

func TestClientConn_ServesCallAfterCall(t *testing.T) {
	b := backend(t, func(x *Exchange) { respond(t, x, 200, path(x)) })
	for range 5 {
		if !b.Alive() {
			t.Fatal("it is not alive")
		}
		call := b.Call()
		if err := call.WriteHead(getRequest(), true); err != nil {
			t.Fatal(err)
		}
		res, err := call.ReadHead()
		if err != nil || res.Status != 200 || res.Length != 1 {
			t.Fatalf("%v, %v", res, err)
		}
		if body, err := io.ReadAll(call.Body()); err != nil || string(body) != "/" {
			t.Fatalf("%q, %v", body, err)
		}
		call.Close()
		call.Close()
		if !b.Release() {
			t.Fatal("it is not reusable")
		}
	}
	b.Close()
	if b.Alive() {
		t.Error("it is closed")
	}
}

func TestClientConn_SeesThatItIsStale(t *testing.T) {
	for name, act := range map[string]func(c *net.TCPConn){
		"closed":         func(c *net.TCPConn) { c.Close() },
		"reset":          func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"spoken unasked": func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			here, there := pair(t)
			conn := NewClientConn(here, ClientConfig{}.WithDefaults())
			if !conn.Alive() {
				t.Fatal("it is alive")
			}
			act(there)
			for until := time.Now().Add(patience); conn.Alive(); time.Sleep(time.Millisecond) {
				if time.Now().After(until) {
					t.Fatal("it is stale")
				}
			}
		})
	}
}

func TestCall_AbandonedHalfwayClosesItsConnection(t *testing.T) {
	for name, leave := range map[string]func(c *Call){
		"before it is sent": func(c *Call) {
			c.WriteHead(&message.Request{Method: []byte("POST"), Path: []byte("/"), Length: 5}, false)
		},
		"before the answer":   func(c *Call) { c.WriteHead(getRequest(), true) },
		"before its body":     func(c *Call) { c.WriteHead(getRequest(), true); c.ReadHead() },
		"within its body":     func(c *Call) { c.WriteHead(getRequest(), true); c.ReadHead(); c.Body().Read(make([]byte, 1)) },
		"before it has begun": func(*Call) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := backend(t, func(x *Exchange) {
				_ = x.WriteHead(&message.Response{Status: 200, Length: 5}, false) // it may be closed already
				_ = x.WriteBody([]byte("hello"), false)
				_ = x.End(nil)
			})
			call := b.Call()
			leave(call)
			call.Close()
			if b.Release() || b.Alive() {
				t.Error("it goes on")
			}
		})
	}
}

func TestCall_CloseWakesWhoWaits(t *testing.T) {
	here, there := pair(t)
	conn := NewClientConn(here, ClientConfig{}.WithDefaults())
	call := conn.Call()
	if err := call.WriteHead(getRequest(), true); err != nil {
		t.Fatal(err)
	}
	go func() {
		io.ReadFull(there, make([]byte, len("GET")))
		call.Close()
	}()
	if _, err := call.ReadHead(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestCall_SaysHowFarItGot(t *testing.T) {
	here, there := pair(t)
	there.SetLinger(0)
	there.Close()
	conn := NewClientConn(here, ClientConfig{}.WithDefaults())
	for until := time.Now().Add(patience); conn.Alive() && time.Now().Before(until); time.Sleep(time.Millisecond) {
	}
	call := conn.Call()
	if err := call.WriteHead(getRequest(), true); err == nil || call.Answered() {
		t.Errorf("%v, answered %v", err, call.Answered())
	}

	for text, answered := range map[string]bool{"": false, "H": true} {
		here, there := pair(t)
		call := NewClientConn(here, ClientConfig{}.WithDefaults()).Call()
		if err := call.WriteHead(getRequest(), true); err != nil {
			t.Fatal(err)
		}
		go func() {
			io.ReadFull(there, make([]byte, len(toGet)))
			io.WriteString(there, text)
			there.Close()
		}()
		if _, err := call.ReadHead(); err != io.ErrUnexpectedEOF || call.Answered() != answered {
			t.Errorf("%v, answered %v", err, call.Answered())
		}
	}
}

func TestCall_ResponseTimeoutCountsFromTheRequestsEnd(t *testing.T) {
	here, there := pair(t)
	conn := NewClientConn(here, ClientConfig{Response: 20 * time.Millisecond}.WithDefaults())
	call := conn.Call()
	if err := call.WriteHead(&message.Request{Method: []byte("POST"), Path: []byte("/"), Length: message.Unknown}, false); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 1)
	go func() {
		_, err := call.ReadHead()
		errs <- err
	}()
	// The body takes far longer than the timeout.
	for range 20 {
		if err := call.WriteBody([]byte("x"), true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	select {
	case err := <-errs:
		t.Fatalf("before the request's end: %v", err)
	default:
	}
	if err := call.End(nil); err != nil {
		t.Fatal(err)
	}
	if err := await(t, errs); !isTimeout(err) {
		t.Errorf("%v", err)
	}
	if got, err := http.ReadRequest(bufio.NewReader(there)); err != nil || got.Method != "POST" {
		t.Errorf("%v", err)
	}
}

// full is a connection whose peer takes nothing.
type full struct{ net.Conn }

func (full) Write([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// All of a body may be kept until its end, which is then what cannot be sent.
func TestCall_ResponseTimeoutCountsFromAnEndThatFails(t *testing.T) {
	here, _ := pair(t)
	call := NewClientConn(full{here}, ClientConfig{Response: 20 * time.Millisecond}.WithDefaults()).Call()
	r := getRequest()
	r.Method, r.Length = []byte("POST"), message.Unknown
	if err := errors.Join(call.WriteHead(r, false), call.WriteBody([]byte("kept"), false)); err != nil {
		t.Fatal(err)
	}
	head := make(chan error, 1)
	go func() {
		_, err := call.ReadHead()
		head <- err
	}()
	if err := call.End(nil); !isTimeout(err) {
		t.Errorf("end: %v", err)
	}
	if err := await(t, head); !isTimeout(err) {
		t.Errorf("head: %v", err)
	}
}

func TestCall_SilenceWithinAnAnswerTimesOut(t *testing.T) {
	here, there := pair(t)
	conn := NewClientConn(here, ClientConfig{Read: 20 * time.Millisecond}.WithDefaults())
	call := conn.Call()
	if err := call.WriteHead(getRequest(), true); err != nil {
		t.Fatal(err)
	}
	send(t, there, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
	if _, err := call.ReadHead(); err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(call.Body()); !isTimeout(err) || string(body) != "hel" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestCall_ReadsAnAnswerWhileItSends(t *testing.T) {
	b := backend(t, func(x *Exchange) {
		x.WriteHead(&message.Response{Status: 200, Length: message.Unknown}, false)
		pump(x.Body(), x, true, make([]byte, 1<<10))
	})
	call := b.Call()
	if err := call.WriteHead(&message.Request{Method: []byte("POST"), Path: []byte("/"), Authority: []byte("a"), Length: message.Unknown}, false); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	for n := range 5 {
		if err := call.WriteBody([]byte("hello"), true); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			if _, err := call.ReadHead(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.ReadFull(call.Body(), p[:5]); err != nil || string(p[:5]) != "hello" {
			t.Fatalf("%q, %v", p[:5], err)
		}
	}
	if err := call.End([]message.Field{{Name: []byte("X-Sum"), Value: []byte("42")}}); err != nil {
		t.Fatal(err)
	}
	if n, err := call.Body().Read(p); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	if tr := call.Body().Trailers(); len(tr) != 1 || string(tr[0].Value) != "42" {
		t.Errorf("%v", tr)
	}
	if call.Close(); !b.Release() {
		t.Error("it is not reusable")
	}
}

func TestCall_HeadAndBodyAreOneWrite(t *testing.T) {
	here, there := pair(t)
	socket := &counting{Conn: here}
	call := NewClientConn(socket, ClientConfig{}.WithDefaults()).Call()
	for _, err := range []error{
		call.WriteHead(&message.Request{Method: []byte("POST"), Path: []byte("/"), Authority: []byte("a"), Length: message.Unknown}, false),
		call.WriteBody([]byte("hello"), false),
		call.WriteBody([]byte("world"), false),
		call.End(nil),
		call.End(nil), // once more says nothing more
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := socket.writes.Load(); n != 1 {
		t.Errorf("%d writes", n)
	}
	here.CloseWrite()
	want := dos("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\n5\nworld\n0\n\n")
	if got, err := io.ReadAll(there); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCall_RefusesToWriteWhatWouldBeMisread(t *testing.T) {
	for name, edit := range map[string]func(r *message.Request){
		"method of two words":    func(r *message.Request) { r.Method = []byte("GET /x") },
		"no method":              func(r *message.Request) { r.Method = nil },
		"CONNECT":                func(r *message.Request) { r.Method = []byte("CONNECT") },
		"path with a space":      func(r *message.Request) { r.Path = []byte("/a HTTP/1.1") },
		"path with CR LF":        func(r *message.Request) { r.Path = []byte("/a\r\nX: y") },
		"path with a fragment":   func(r *message.Request) { r.Path = []byte("/a#b") },
		"path without a slash":   func(r *message.Request) { r.Path = []byte("a") },
		"asterisk of GET":        func(r *message.Request) { r.Path = []byte("*") },
		"no path":                func(r *message.Request) { r.Path = nil },
		"authority with CR LF":   func(r *message.Request) { r.Authority = []byte("a\r\nX: y") },
		"authority of two words": func(r *message.Request) { r.Authority = []byte("a b") },
		"protocol with CR LF":    func(r *message.Request) { r.Protocol = []byte("a\r\nX:y") },
		"value with CR LF":       func(r *message.Request) { r.Fields = []message.Field{{Name: []byte("X"), Value: []byte("a\r\nY: b")}} },
		"name with a colon":      func(r *message.Request) { r.Fields = []message.Field{{Name: []byte("X:"), Value: []byte("a")}} },
		"length as a field": func(r *message.Request) {
			r.Fields = []message.Field{{ID: message.ContentLength, Name: []byte("Content-Length")}}
		},
		"a body that is none": func(r *message.Request) { r.Length = 5 },
	} {
		s := &script{}
		conn := NewClientConn(s, ClientConfig{}.WithDefaults())
		call := conn.Call()
		r := getRequest()
		edit(r)
		if err := call.WriteHead(r, true); err != ErrHead || s.out.Len() > 0 || conn.out.n > 0 {
			t.Errorf("%s: %v, wrote %q", name, err, s.out.String())
		}
	}
}

// front serves a client's connection by relaying each request to a backend of
// its own, as often as it likes.
func front(t *testing.T, server net.Conn, handle func(x *Exchange)) <-chan error {
	b := backend(t, handle)
	return serve(t, NewServerConn(server, Config{}.WithDefaults()), func(x *Exchange) {
		if err := relayBoth(x, b); err != nil {
			t.Errorf("relay: %v", err)
			x.Reset()
		}
		b.Release()
	})
}

func TestRelay_LargeBodiesBothWays(t *testing.T) {
	data := make([]byte, 3<<20+12345)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	echo := func(x *Exchange) {
		length := x.Request().Length
		switch {
		case path(x) == "/":
		case length == message.Unknown: // the other way of framing it
			length = int64(len(data))
		default:
			length = message.Unknown
		}
		x.WriteHead(&message.Response{Status: 200, Length: length}, false)
		if err := pump(x.Body(), x, true, make([]byte, 50<<10)); err != nil {
			t.Errorf("backend: %v", err)
		}
	}
	for _, target := range []string{"/", "/turn"} {
		for _, length := range []int64{int64(len(data)), -1} {
			overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
				front(t, server, echo)
				r, _ := http.NewRequest("POST", "http://a"+target, bytes.NewReader(data))
				r.ContentLength = length
				sent := make(chan error, 1)
				go func() { sent <- r.Write(client) }()
				if res, got := answer(t, bufio.NewReader(client), "POST"); res.StatusCode != 200 || got != string(data) {
					t.Errorf("%s, length %d: %d, %d bytes", target, length, res.StatusCode, len(got))
				}
				if err := await(t, sent); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestRelay_UpgradeIsATunnelBothWays(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		ended := front(t, server, func(x *Exchange) {
			if string(x.Request().Protocol) != "websocket" {
				t.Errorf("protocol %q", x.Request().Protocol)
			}
			x.WriteHead(&message.Response{Status: 101}, false)
			x.WriteBody([]byte("welcome "), true)
			if err := pump(x.Body(), x, true, make([]byte, 100)); err != nil {
				t.Errorf("backend: %v", err)
			}
		})
		send(t, client, toWS+"early ")
		b := bufio.NewReader(client)
		if res, _ := answer(t, b, "GET"); res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		send(t, client, "late")
		p := make([]byte, len("welcome early late"))
		if _, err := io.ReadFull(b, p); err != nil || string(p) != "welcome early late" {
			t.Errorf("%q, %v", p, err)
		}
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(b); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
		if err := await(t, ended); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestRelay_TrailersBothWays(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		front(t, server, func(x *Exchange) {
			x.WriteHead(&message.Response{Status: 200, Length: message.Unknown}, false)
			pump(x.Body(), x, true, make([]byte, 100))
		})
		send(t, client, chunked("5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n"))
		res, got := answer(t, bufio.NewReader(client), "POST")
		if got != "hello" || res.Trailer.Get("X-Sum") != "42" {
			t.Errorf("%q %v", got, res.Trailer)
		}
	})
}

func TestRefuse_AnswerIsNotLostToWhatTheClientStillSends(t *testing.T) {
	overBoth(t, func(t *testing.T, server net.Conn, client halfConn) {
		serve(t, NewServerConn(server, Config{}.WithDefaults()), func(*Exchange) {})
		go io.WriteString(client, "G(T / HTTP/1.1\r\n"+strings.Repeat("x", 500<<10))
		if res, got := answer(t, bufio.NewReader(client), "GET"); res.StatusCode != 400 || got != "400 Bad Request\n" || !res.Close {
			t.Errorf("%d %q, close %v", res.StatusCode, got, res.Close)
		}
	})
}
