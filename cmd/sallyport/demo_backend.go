package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// sampleBackend is a plain HTTP server that says who it is and what it was told.
type sampleBackend struct {
	address string
	server  *http.Server
	ended   chan struct{}
}

func startSampleBackend(name, address string) (*sampleBackend, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, listenError(err)
	}
	b := &sampleBackend{
		address: l.Addr().String(),
		ended:   make(chan struct{}),
		server: &http.Server{
			ReadHeaderTimeout: 10 * time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain; charset=utf-8")
				w.Header().Set("X-Backend", name)
				fmt.Fprintf(w, "hello from %s: %s https://%s%s for %s\n", name, r.Method, r.Host, r.URL.Path, r.Header.Get("X-Forwarded-For"))
			}),
		},
	}
	go func() {
		defer close(b.ended)
		_ = b.server.Serve(l) // ends with http.ErrServerClosed, by stop
	}()
	return b, nil
}

func (b *sampleBackend) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if b.server.Shutdown(ctx) != nil {
		b.server.Close()
	}
	<-b.ended
}
