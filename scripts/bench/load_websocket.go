package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/coder/websocket"
)

// echoes sends messages on so many WebSockets, each when the one before it has
// come back.
type echoes struct {
	workers
	clients int
}

const messageSize = 64

func (e *echoes) start(ctx context.Context, i *instance) error {
	e.run(ctx, e.clients, func(ctx context.Context, _ int) error {
		c, err := dialWebSocket(ctx, i)
		if err != nil {
			return err
		}
		defer c.CloseNow()
		message := bytes.Repeat([]byte("m"), messageSize)
		for ctx.Err() == nil {
			if err := echoOnce(ctx, c, message); err != nil {
				return err
			}
			e.units.Add(1)
		}
		return nil
	})
	return nil
}

func dialWebSocket(ctx context.Context, i *instance) (*websocket.Conn, error) {
	transport := &http.Transport{TLSClientConfig: i.clientTLS("ec")}
	c, _, err := websocket.Dial(ctx, "wss://"+i.address+echoPath, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport},
		Host:       i.token.pair("ec").Host,
	})
	return c, err
}

func echoOnce(ctx context.Context, c *websocket.Conn, message []byte) error {
	if err := c.Write(ctx, websocket.MessageBinary, message); err != nil {
		return err
	}
	_, back, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, message) {
		return fmt.Errorf("the echo of %d bytes has %d, or others", len(message), len(back))
	}
	return nil
}
