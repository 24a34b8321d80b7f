package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// client makes small requests on one connection, over HTTP/1.1.
type client struct {
	conn    *tls.Conn
	reader  *bufio.Reader
	request []byte
}

func newClient(ctx context.Context, i *instance) (*client, error) {
	c, err := dialTLS(ctx, i.address, i.clientTLS("ec"))
	if err != nil {
		return nil, err
	}
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", helloPath, i.token.pair("ec").Host)
	return &client{c, bufio.NewReaderSize(c, 1024), []byte(request)}, nil
}

// get makes a request and reads its answer whole.
func (c *client) get() error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || string(body) != hello {
		return fmt.Errorf("%s with %d bytes", answer.Status, len(body))
	}
	if answer.Close {
		return errors.New("the server closes the connection after an answer")
	}
	return nil
}

func (c *client) close() { c.conn.Close() }
