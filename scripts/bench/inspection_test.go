package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// deviation is in what a server under test differs from the others.
type deviation struct {
	config  func(*tls.Config)
	forward func(http.Header)
	hello   string
	cut     int // a download's bytes that are missing
}

// keys are pairs and the certificates that a server has of them.
type keys struct {
	pairs        []pair
	certificates []tls.Certificate
}

// sampleKeys are made once: an RSA key takes a while.
var sampleKeys = sync.OnceValues(func() (k keys, err error) {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		return k, err
	}
	defer os.RemoveAll(dir)
	if k.pairs, err = makePairs(dir); err != nil {
		return k, err
	}
	for _, p := range k.pairs {
		c, err := tls.LoadX509KeyPair(p.Chain, p.Key)
		if err != nil {
			return k, err
		}
		k.certificates = append(k.certificates, c)
	}
	return k, nil
})

// startSample runs a server that does by itself what those under test do with
// the backends, in this process.
func startSample(t *testing.T, d deviation) *instance {
	t.Helper()
	keys, err := sampleKeys()
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{
		Certificates:     keys.certificates,
		CurvePreferences: []tls.CurveID{tls.X25519},
		NextProtos:       []string{"h2", "http/1.1"},
	}
	if d.config != nil {
		d.config(config)
	}
	server := httptest.NewUnstartedServer(d.handler())
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return &instance{
		process: &process{cmd: &exec.Cmd{Process: self}},
		address: server.Listener.Addr().String(),
		token:   &token{Pairs: keys.pairs},
	}
}

func (d deviation) handler() http.Handler {
	var s sink
	mux := s.handler()
	answer := d.hello
	if answer == "" {
		answer = hello
	}
	mux.HandleFunc(helloPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) })
	mux.HandleFunc(downloadPath, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", bodySize-d.cut))
	})
	mux.HandleFunc(farDownloadPath, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", farBodySize-d.cut))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _, _ := net.SplitHostPort(r.RemoteAddr)
		r.Header.Set("X-Forwarded-For", peer)
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Forwarded-Host", r.Host)
		if d.forward != nil {
			d.forward(r.Header)
		}
		if r.URL.Path == seePath {
			r.Proto = "HTTP/1.1" // as a backend sees it
		}
		mux.ServeHTTP(w, r)
	})
}

// Whoever does not do the same work is not measured.
func TestInspection_RefusesWhatDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		deviation
		want string
	}{
		"nothing differs":        {deviation{}, ""},
		"another answer":         {deviation{hello: "hi"}, "2 bytes"},
		"a download that is cut": {deviation{cut: 1}, "1048575 bytes"},
		"TLS 1.2 only":           {deviation{config: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }}, "version"},
		"no TLS 1.2":             {deviation{config: func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }}, "TLS 1.2"},
		"another key exchange": {deviation{config: func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }},
			"handshake failure"},
		"no tickets": {deviation{config: func(c *tls.Config) { c.SessionTicketsDisabled = true }}, "no session ticket"},
		"one certificate for all names": {deviation{config: func(c *tls.Config) { c.Certificates = c.Certificates[:1] }},
			"another certificate"},
		"a field that is missing": {deviation{forward: func(h http.Header) { h.Del("X-Forwarded-Host") }}, "X-Forwarded-Host is []"},
		"a field that is twice": {deviation{forward: func(h http.Header) { h.Add("X-Forwarded-For", "127.0.0.1") }},
			"X-Forwarded-For is"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantError(t, inspect(t.Context(), startSample(t, c.deviation)), c.want)
		})
	}
}
