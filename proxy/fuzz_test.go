package proxy

import (
	"crypto/tls"
	"io"
	"strings"
	"testing"
)

// Whatever a client sends over HTTP/1.1, a backend sees no request that the front did
// not write: each has the front's address fields, and there are no more than were
// answered from a backend. Nothing stays behind.
func FuzzFront(f *testing.F) {
	wire := strings.NewReplacer("\n", "\r\n", "¶", "\n")
	for _, h := range hostile {
		if len(h.send) < 1000 {
			f.Add([]byte(wire.Replace(h.send)))
		}
	}
	backend := newRecorder(f)
	pool, b := poolOf(f, backend.address)
	front := serve(f, pool)
	front.sessions = tls.NewLRUClientSessionCache(1) // else signatures are held back (wasted.go)
	var forwarded, seen int
	f.Fuzz(func(t *testing.T, p []byte) {
		here := *front
		here.t = t
		c := here.dial(www)
		defer c.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Write(p)
			c.Conn.(*tls.Conn).CloseWrite()
		}()
		io.Copy(io.Discard, c.r)
		c.Close()
		<-done
		if !front.server.clients.wait(t.Context()) || front.server.requests.count() != 0 {
			t.Fatal("something stays behind")
		}
		for len(front.access.lines) > 0 {
			if line := front.access.next(t); line["backend"].String() != "" {
				forwarded++
			}
		}
		for _, r := range b.all() {
			if r.blamed() {
				t.Errorf("the backend was blamed: %v", r.err)
			}
		}
		saw := backend.rest()
		if seen += len(saw); seen > forwarded { // it may see a request late that was cut
			t.Errorf("the backend saw %q, %d requests where %d were forwarded", saw, seen, forwarded)
		}
		for _, line := range saw {
			if strings.Contains(line, "malformed") || strings.Contains(line, "SMUGGLED") {
				t.Errorf("the backend saw %q", line)
			}
		}
	})
}

// all returns the releases since the last time.
func (b *backends) all() []release {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.changed) > 0 {
		<-b.changed
	}
	all := b.released
	b.released = nil
	return all
}
