package http1

import (
	"io"
	"net"
	"testing"
	"time"

	"sallyport/proxy/message"
)

// browser is a request as browsers send them.
var browser = dos(`GET /assets/app.js?v=123456 HTTP/1.1
Host: www.example.com
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0
Accept: */*
Accept-Language: en-US,en;q=0.5
Accept-Encoding: gzip, deflate, br, zstd
Referer: https://www.example.com/
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes
Connection: keep-alive
Sec-Fetch-Dest: script
Sec-Fetch-Mode: no-cors
Sec-Fetch-Site: same-origin

`)

var upload = dos(`POST /upload HTTP/1.1
Host: www.example.com
Transfer-Encoding: chunked

5
hello
6;x=y
 world
0
X-Sum: 42

`)

var page = dos(`HTTP/1.1 200 OK
Server: demo
Date: Sun, 06 Nov 1994 08:49:37 GMT
Content-Type: text/plain; charset=utf-8
Cache-Control: max-age=3600
ETag: "0123456789"
Content-Length: 12

`) + "hello, world"

// wheel is a connection whose peer says the same again and again, a message a
// read, and takes everything.
type wheel struct {
	text string
	rest string
}

func (w *wheel) Read(p []byte) (int, error) {
	if w.rest == "" {
		w.rest = w.text
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (w *wheel) Write(p []byte) (int, error)      { return len(p), nil }
func (w *wheel) Close() error                     { return nil }
func (w *wheel) LocalAddr() net.Addr              { return nil }
func (w *wheel) RemoteAddr() net.Addr             { return nil }
func (w *wheel) SetDeadline(time.Time) error      { return nil }
func (w *wheel) SetReadDeadline(time.Time) error  { return nil }
func (w *wheel) SetWriteDeadline(time.Time) error { return nil }

// loops are the steps whose cost is looked at.
func loops(tb testing.TB) map[string]func() {
	steps := make(map[string]func())
	answer := message.Response{Status: 204}
	buf := make([]byte, 32<<10)
	for name, text := range map[string]string{"ParseRequest": browser, "ParseChunked": upload} {
		conn := NewServerConn(&wheel{text: text}, Config{}.WithDefaults())
		steps[name] = func() {
			x, err := conn.Next()
			if err != nil {
				tb.Fatal(err)
			}
			for err == nil {
				_, err = x.Body().Read(buf)
			}
			if err != io.EOF {
				tb.Fatal(err)
			}
			if err := x.WriteHead(&answer, true); err != nil {
				tb.Fatal(err)
			}
		}
	}
	request := message.Request{Method: []byte("GET"), Path: []byte("/"), Authority: []byte("a")}
	steps["ParseResponse"] = func() func() {
		conn := NewClientConn(&wheel{text: page}, ClientConfig{}.WithDefaults())
		return func() {
			call := conn.Call()
			if err := call.WriteHead(&request, true); err != nil {
				tb.Fatal(err)
			}
			if _, err := call.ReadHead(); err != nil {
				tb.Fatal(err)
			}
			for {
				if _, err := call.Body().Read(buf); err == io.EOF {
					break
				} else if err != nil {
					tb.Fatal(err)
				}
			}
			if call.Close(); !conn.Release() {
				tb.Fatal("not reusable")
			}
		}
	}()
	steps["Loop"] = func() func() {
		client := NewServerConn(&wheel{text: browser}, Config{}.WithDefaults())
		backend := NewClientConn(&wheel{text: page}, ClientConfig{}.WithDefaults())
		return func() {
			x, err := client.Next()
			if err != nil {
				tb.Fatal(err)
			}
			if err := relayWith(x, backend, buf); err != nil {
				tb.Fatal(err)
			}
			if !backend.Release() {
				tb.Fatal("not reusable")
			}
		}
	}()
	return steps
}

func BenchmarkCodec(b *testing.B) {
	for name, step := range loops(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}

// The steady state allocates nothing, on either side.
func TestCodec_AllocatesNothing(t *testing.T) {
	for name, step := range loops(t) {
		for range 10 {
			step() // pools fill, lists grow
		}
		if n := testing.AllocsPerRun(1000, step); n > allowed {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
