package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// testBackend is a real server of HTTP/1.1, and of HTTP/2 for who begins with it, behind
// Sallyport:
//
//	/hello        says its name and what it was told
//	/sink         reads the body and says how many bytes there were
//	/source?n=N   answers with N bytes
//	/slow         holds its answer back until /release is asked for, or a minute
//	/never        answers when the client has gone
//	/stall        begins an answer, and ends it when the client has gone
//	/echo         a WebSocket that echoes
type testBackend struct {
	address string
	name    string
	release chan struct{}
}

func newTestBackend(t testing.TB, name string) *testBackend {
	b := &testBackend{name: name, release: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", b.hello)
	mux.HandleFunc("/sink", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "got %d bytes, error %v\n", n, err)
	})
	mux.HandleFunc("/source", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.CopyN(w, zeros{}, n) // a client that leaves is not this test's matter
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-b.release:
		case <-time.After(time.Minute):
		}
		b.hello(w, r)
	})
	mux.HandleFunc("/release", func(http.ResponseWriter, *http.Request) { close(b.release) })
	mux.HandleFunc("/never", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/stall", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "wait")
		_ = http.NewResponseController(w).Flush() // a client that leaves is not this test's matter
		<-r.Context().Done()
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	})
	s := httptest.NewUnstartedServer(mux)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	b.address = s.Listener.Addr().String()
	return b
}

func (b *testBackend) hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Backend", b.name)
	fmt.Fprintf(w, "%s: %s %s host=%s\n", b.name, r.Method, r.URL.Path, r.Host)
	fmt.Fprintf(w, "protocol=%s\n", r.Proto)
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-Ip", "X-Request-Id", "X-Front-End", "Te", "Connection"} {
		fmt.Fprintf(w, "%s=%s\n", name, strings.Join(r.Header.Values(name), " | "))
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// newPlainBackend is a server of HTTP/1.1 alone.
func newPlainBackend(t testing.TB) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// closedAddress is an address where nothing listens.
func closedAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
