package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"sallyport/configs"
	"sallyport/proxy/http2"
)

// dialBackends warns of each backend that cannot be reached now, or does not speak what
// its pool says. All are dialled at once, so that dead ones cost one timeout together.
func (s *service) dialBackends(ctx context.Context) {
	type outcome struct {
		pool int
		path string
		err  error
	}
	var all []*outcome
	var dialling sync.WaitGroup
	for i, p := range s.config.Pools {
		for j, b := range p.Backends {
			o := &outcome{pool: i, path: fmt.Sprintf("pools[%d].backends[%d].address", i, j)}
			all = append(all, o)
			dialling.Go(func() { o.err = tryBackend(ctx, p, b.Address) })
		}
	}
	dialling.Wait()
	bad := make(map[int]int)
	for _, o := range all {
		if o.err != nil {
			s.warnings = append(s.warnings, configs.Problem{Path: o.path, Message: o.err.Error(), Hint: hintOf(o.err)})
			bad[o.pool]++
		}
	}
	for i, p := range s.config.Pools {
		if bad[i] == len(p.Backends) {
			s.warnings = append(s.warnings, configs.Problem{
				Path:    fmt.Sprintf("pools[%d]", i),
				Message: fmt.Sprintf("pool %s has no backend that works now (%d tried): its requests get 502", p.Name, len(p.Backends)),
				Hint:    "do the backends run, do they listen on these addresses, and can this machine reach them? A running service tries them again by itself",
			})
		}
	}
}

// tryBackend connects as serving does, within the same timeout. With HTTP/2 the backend
// has to say its settings, which show that it speaks that; with HTTP/1.1 it says nothing
// unasked.
func tryBackend(ctx context.Context, p configs.Pool, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.Timeouts.Connect))
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot be reached now: %w", err)
	}
	if p.Protocol != configs.ProtocolH2C {
		conn.Close()
		return nil
	}
	return settle(ctx, conn)
}

// settle exchanges the preface and settings of HTTP/2, and closes the connection.
func settle(ctx context.Context, conn net.Conn) error {
	heard := &listened{Conn: conn}
	c := http2.NewClientConn(heard, http2.Config{})
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run() }) // Settled says the same
	stop := context.AfterFunc(ctx, c.Close)
	err := c.Settled()
	room := c.CanTakeCall()
	stop()
	c.Close()
	conn.Close() // c would give the backend a second to close it
	running.Wait()
	switch first := heard.first; {
	case err == nil && room:
		return nil
	case err == nil:
		return errors.New("is reached, but takes no requests by HTTP/2")
	case bytes.HasPrefix(first, []byte("HTTP/1.")):
		line, _, _ := strings.Cut(string(first), "\r\n")
		return hint(fmt.Errorf("is reached, but answers HTTP/2 with HTTP/1.1 (%.40q)", line),
			"its pool says protocol: h2c; leave that out, or have the backend take HTTP/2 without TLS from the first byte on (prior knowledge)")
	case len(first) > 1 && first[0] >= 0x14 && first[0] <= 0x17 && first[1] == 3:
		return hint(errors.New("is reached, but answers HTTP/2 with TLS"), "backends are spoken to without TLS: name its port for that")
	case len(first) == 0 && errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = os.ErrDeadlineExceeded
	}
	return hint(fmt.Errorf("is reached, but does not speak HTTP/2: %w", err), "its pool says protocol: h2c, which is HTTP/2 without TLS from the first byte on")
}

// listened is a connection that keeps the first bytes that came.
type listened struct {
	net.Conn
	first []byte
}

func (l *listened) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.first = append(l.first, p[:min(n, 64-len(l.first))]...)
	return n, err
}
