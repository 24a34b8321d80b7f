package proxy

import (
	"bytes"
	"net"
	"testing"
)

const (
	benchRequest = "GET /index.html HTTP/1.1\r\nHost: " + www + "\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: session=0123456789abcdef\r\n\r\n"
	benchAnswer  = "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Wed, 25 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n"
)

// tireless is a backend that answers each request with the same bytes and
// allocates nothing.
func tireless(t testing.TB) string {
	answer := []byte(benchAnswer)
	return rawBackend(t, func(c net.Conn) {
		b := make([]byte, 4096)
		n := 0
		for {
			m, err := c.Read(b[n:])
			if err != nil {
				return
			}
			if n += m; bytes.HasSuffix(b[:n], []byte("\r\n\r\n")) {
				n = 0
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}
	})
}

// only is a Balancer of one backend.
type only string

func (o only) Pick(tried []string, _ bool) (string, uint64, bool) {
	return string(o), 0, len(tried) == 0
}
func (o only) Release(uint64, error) {}

// asker makes requests on one connection and allocates nothing either.
type asker struct {
	conn    net.Conn
	request []byte
	b       []byte
}

func (a *asker) ask(t testing.TB) {
	if _, err := a.conn.Write(a.request); err != nil {
		t.Fatal(err)
	}
	n := 0
	for !bytes.HasSuffix(a.b[:n], []byte("Hello, world\n")) {
		m, err := a.conn.Read(a.b[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if !bytes.HasPrefix(a.b, []byte("HTTP/1.1 200 OK\r\n")) {
		t.Fatalf("%q", a.b[:n])
	}
}

func benchFront(t testing.TB, edit ...func(*Config)) *asker {
	edit = append(edit, func(c *Config) { c.AccessLog = nil })
	f := serve(t, &Pool{Name: "web", Balancer: only(tireless(t))}, edit...)
	return &asker{conn: f.dial(www).Conn, request: []byte(benchRequest), b: make([]byte, 4096)}
}

// BenchmarkForward_HTTP1 is a small GET from end to end: client, Server and
// backend are all counted.
func BenchmarkForward_HTTP1(b *testing.B) {
	a := benchFront(b)
	a.ask(b)
	b.ReportAllocs()
	for b.Loop() {
		a.ask(b)
	}
}
