package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

// sinkCommand is the argument with which this program is the sink.
const (
	sinkCommand   = "sink"
	sinkCountPath = "/count"
)

// sink is the backend for what nginx does not do as one: it takes uploads,
// echoes WebSocket messages, and says what it sees of a request.
type sink struct {
	uploads atomic.Int64
}

// sight is what the sink sees of a request.
type sight struct {
	Connection string // the peer's address: the same for requests on one connection
	Protocol   string
	Host       string
	Header     http.Header
}

func runSink(address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var s sink
	server := &http.Server{Addr: address, Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Minute}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return nil
}

func (s *sink) handler() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc(uploadPath, s.upload)
	mux.HandleFunc(farUploadPath, s.upload)
	mux.HandleFunc(slowPath, s.slow)
	mux.HandleFunc(seePath, s.see)
	mux.HandleFunc(echoPath, s.echo)
	mux.HandleFunc(sinkCountPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s.uploads.Load()) })
	return mux
}

// upload answers when it has the whole body.
func (s *sink) upload(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return // the client has gone
	}
	s.uploads.Add(1)
	fmt.Fprint(w, n)
}

// slowTime is how long a backend takes that has something to do.
const slowTime = 100 * time.Millisecond

// slow gives the small answer after slowTime.
func (s *sink) slow(w http.ResponseWriter, r *http.Request) {
	if sleep(r.Context(), slowTime) == nil { // else the client has gone
		fmt.Fprint(w, hello)
	}
}

func (s *sink) see(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(sight{r.RemoteAddr, r.Proto, r.Host, r.Header}) // else the client has gone
}

func (s *sink) echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has been answered
	}
	defer c.CloseNow()
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}
