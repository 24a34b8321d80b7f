//go:build !race

// Pools forget on purpose under the race detector.

package proxy

import (
	"crypto/tls"
	"net"
	"testing"
)

// A request that is forwarded over HTTP/1.1 allocates nothing once its
// connections stand, but for what crypto/tls does for each record that it reads: as
// much as in a bare TLS connection with the same bytes.
func TestForward_AllocatesNothing(t *testing.T) {
	testAllocations(t, benchFront(t))
}

// Nor does one that is limited and edited in every way.
func TestForward_EditingAllocatesNothing(t *testing.T) {
	edits := FieldEdits{Set: []Field{{"X-Frame-Options", "DENY"}}, Add: []Field{{"Via", "1.1 edge"}}, Remove: []string{"Server", "Date"}}
	testAllocations(t, benchFront(t, func(c *Config) {
		s := &c.Sites[0]
		s.HSTS = &HSTS{MaxAge: preloadAge, IncludeSubdomains: true}
		r := &s.Routes[0]
		r.Methods, r.MaxBody, r.RequestFields, r.ResponseFields = []string{"GET"}, 1, edits, edits
	}))
}

func testAllocations(t *testing.T, forwarded *asker) {
	bare := &asker{conn: bareTLS(t), request: []byte(benchRequest), b: make([]byte, 4096)}
	for range 100 {
		bare.ask(t)
		forwarded.ask(t)
	}
	want := testing.AllocsPerRun(2000, func() { bare.ask(t) })
	if got := testing.AllocsPerRun(2000, func() { forwarded.ask(t) }); got > want {
		t.Errorf("%v allocations for each request, a bare TLS connection makes %v", got, want)
	}
}

// bareTLS is a TLS connection to somebody who gives the tireless backend's answer.
func bareTLS(t testing.TB) net.Conn {
	key := newCertificate(t, www)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{key.cert}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		answer, b := []byte(benchAnswer), make([]byte, 4096)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		l.Close()
		<-done
	})
	return c
}
