package proxy

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// countedBackend is a backend that counts its connections.
func countedBackend(t testing.TB, h http.HandlerFunc) (address string, conns func() int64) {
	var n atomic.Int64
	s := &http.Server{Handler: h, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			n.Add(1)
		}
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String(), n.Load
}

// A client sends its next request as soon as it has the last byte of a response. The
// connection to the backend is to be found then.
func TestConnections_KeptBeforeTheClientHasTheLastByte(t *testing.T) {
	address, conns := countedBackend(t, func(w http.ResponseWriter, r *http.Request) {
		kind, size, _ := strings.Cut(r.URL.Path[1:], "/")
		n, _ := strconv.Atoi(size)
		switch kind {
		case "none":
			w.WriteHeader(204)
			return
		case "length":
			w.Header().Set("Content-Length", size)
		case "trailers":
			w.Header().Set("Trailer", "X-End")
			defer w.Header().Set("X-End", "1")
			w.(http.Flusher).Flush()
		case "chunks":
			w.(http.Flusher).Flush()
		}
		io.Copy(io.Discard, r.Body)
		io.Copy(w, zeroes(int64(n)))
	})
	pool, _ := poolOf(t, address)
	f := serve(t, pool, quiet)
	idle := func() int {
		cs := f.server.forwarders[0].links.(*connections)
		cs.mu.Lock()
		defer cs.mu.Unlock()
		return len(cs.of(address).idle)
	}
	bothProtocols(t, func(t *testing.T, protocol string) {
		client := f.client(protocol)
		for _, path := range []string{"/none/0", "/length/0", "/length/5", "/length/5000", "/length/300000", "/chunks/5", "/chunks/100000", "/trailers/5"} {
			for range 20 {
				res, err := client.Get(base + path)
				if err != nil {
					t.Fatal(err)
				}
				_ = text(t, res)
				if n := idle(); n != 1 {
					t.Errorf("%s: %d idle connections when the client has its response", path, n)
				}
			}
		}
	})
	if n := conns(); n != 1 {
		t.Errorf("%d connections for requests one after the other", n)
	}
}
