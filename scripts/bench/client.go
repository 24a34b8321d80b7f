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
	return i.clientOn(c), nil
}

// clientOn makes requests on a connection that is open.
func (i *instance) clientOn(c *tls.Conn) *client {
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", helloPath, i.token.pair("ec").Host)
	return &client{c, bufio.NewReaderSize(c, 1024), []byte(request)}
}

// get makes a request and reads its answer whole.
func (c *client) get() error {
	if err := c.send(); err != nil {
		return err
	}
	return c.receive()
}

func (c *client) send() error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.conn.Write(c.request)
	return err
}

func (c *client) receive() error {
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
