package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// openConnection makes requests on one connection. An http.Client would not do:
// it gives up a connection and opens another one without a word, also for
// reasons of its own.
type openConnection struct {
	address string
	tls     *tls.Config
	conn    *tls.Conn // nil: to be opened
	answers *bufio.Reader
}

// get makes one request. After an error the next one opens the connection anew.
func (o *openConnection) get(ctx context.Context, url string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if o.conn == nil {
		c := o.tls.Clone()
		c.ServerName = r.URL.Hostname()
		conn, err := (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", o.address)
		if err != nil {
			return err
		}
		o.conn, o.answers = conn.(*tls.Conn), bufio.NewReader(conn)
	}
	stop := context.AfterFunc(ctx, func() { _ = o.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if err := r.Write(o.conn); err != nil {
		return err
	}
	answer, err := http.ReadResponse(o.answers, r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body := readAll(answer)
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(body, "backend-") || answer.Close {
		return fmt.Errorf("%s: %q, last on its connection: %t", answer.Status, body, answer.Close)
	}
	return nil
}

func (o *openConnection) close() {
	if o.conn != nil {
		_ = o.conn.Close() // only to be rid of it
		o.conn = nil
	}
}
