package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// handshakes opens connections one after another, with so many clients at once.
// A unit is a connection from its first packet to its last: the client shakes
// hands and ends the connection, and the server agrees to the end, so that it
// has done all of its part.
type handshakes struct {
	workers
	clients int
	label   string // whose key it is
	version uint16
	resumed bool
}

// start: clients that resume get their sessions before anything is counted.
func (h *handshakes) start(ctx context.Context, i *instance) error {
	var session *keptSession
	if h.resumed {
		var err error
		if session, err = newSession(ctx, i, h.config(i)); err != nil {
			return err
		}
	}
	h.run(ctx, h.clients, func(ctx context.Context, _ int) error {
		config := h.config(i)
		if session != nil {
			config.ClientSessionCache = session
		}
		for ctx.Err() == nil {
			if err := connectOnce(ctx, i.address, config, h.resumed); err != nil {
				return err
			}
			h.units.Add(1)
		}
		return nil
	})
	return nil
}

func (h *handshakes) config(i *instance) *tls.Config {
	c := i.clientTLS(h.label)
	if h.version == tls.VersionTLS12 {
		c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		// Before TLS 1.3 the curves are those of certificates too (RFC 8422 §5.1).
		c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
		c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	return c
}

// connectOnce makes one connection without a request on it.
func connectOnce(ctx context.Context, address string, config *tls.Config, resumed bool) error {
	c, err := dialTLS(ctx, address, config)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if got := c.ConnectionState().DidResume; got != resumed {
		return fmt.Errorf("a handshake was resumed: %t", got)
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	// TLS 1.3's tickets come here too.
	switch _, err := c.Read(make([]byte, 1)); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("the connection's end: %w", err)
	}
	return errors.New("an answer came though there was no request")
}

func dialTLS(ctx context.Context, address string, config *tls.Config) (*tls.Conn, error) {
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: config}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}
