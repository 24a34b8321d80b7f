package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// inspection looks at a server before it is measured: all must do the same.
type inspection struct {
	*instance
	http1, http2 *http.Client
}

func inspect(ctx context.Context, i *instance) error {
	n := inspection{i, i.httpClient(false), i.httpClient(true)}
	defer n.http1.CloseIdleConnections()
	defer n.http2.CloseIdleConnections()
	for _, look := range []struct {
		at string
		do func(context.Context) error
	}{
		{"certificates", n.certificates},
		{"small answers", n.answers},
		{"downloads", n.downloads},
		{"uploads", n.uploads},
		{"forwarding fields", n.forwarding},
		{"WebSockets", n.webSocket},
		{"resumption", n.resumption},
	} {
		if err := look.do(ctx); err != nil {
			return fmt.Errorf("inspection of %s: %w", look.at, err)
		}
	}
	return nil
}

// httpClient keeps one connection, over HTTP/1.1 or HTTP/2.
func (i *instance) httpClient(two bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!two)
	protocols.SetHTTP2(two)
	config := i.clientTLS("ec")
	if two {
		config.NextProtos = []string{"h2"}
	}
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: config, Protocols: protocols, DisableCompression: true,
	}}
}

// certificates: all show the same, and with the parameters that all have.
func (n inspection) certificates(ctx context.Context) error {
	for _, p := range n.token.Pairs {
		c, err := dialTLS(ctx, n.address, n.clientTLS(p.Label))
		if err != nil {
			return err
		}
		state := c.ConnectionState()
		c.Close()
		if !state.PeerCertificates[0].Equal(p.Certificate) || len(state.PeerCertificates) != 2 {
			return fmt.Errorf("another certificate than that of %s", p.Host)
		}
		if err := sameTLS(&state, "http/1.1"); err != nil {
			return err
		}
	}
	return nil
}

func sameTLS(state *tls.ConnectionState, protocol string) error {
	switch {
	case state == nil:
		return errors.New("no TLS")
	case state.Version != tls.VersionTLS13, state.CipherSuite != tls.TLS_AES_128_GCM_SHA256, state.CurveID != tls.X25519:
		return fmt.Errorf("%s with %s and %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.CurveID)
	case state.NegotiatedProtocol != protocol:
		return fmt.Errorf("%s in place of %s", state.NegotiatedProtocol, protocol)
	}
	return nil
}

func (n inspection) answers(ctx context.Context) error {
	return n.bothGet(ctx, helloPath, []byte(hello))
}

func (n inspection) downloads(ctx context.Context) error {
	return n.bothGet(ctx, downloadPath, bytes.Repeat([]byte("x"), bodySize))
}

func (n inspection) bothGet(ctx context.Context, path string, want []byte) error {
	for protocol, client := range map[string]*http.Client{"http/1.1": n.http1, "h2": n.http2} {
		got, state, err := n.request(ctx, client, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%d bytes over %s, not the %d of the backend", len(got), protocol, len(want))
		}
		if err := sameTLS(state, protocol); err != nil {
			return err
		}
	}
	return nil
}

func (n inspection) uploads(ctx context.Context) error {
	for _, client := range []*http.Client{n.http1, n.http2} {
		got, _, err := n.request(ctx, client, http.MethodPost, uploadPath, make([]byte, bodySize))
		if err != nil {
			return err
		}
		if string(got) != fmt.Sprint(bodySize) {
			return fmt.Errorf("the backend got %s bytes", got)
		}
	}
	return nil
}

// forwarding: the backend learns who asked for what, over a connection that is kept.
func (n inspection) forwarding(ctx context.Context) error {
	for _, client := range []*http.Client{n.http1, n.http2} {
		first, err := n.see(ctx, client)
		if err != nil {
			return err
		}
		for name, want := range map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": n.host(),
		} {
			if got := first.Header.Values(name); len(got) != 1 || got[0] != want {
				return fmt.Errorf("%s is %q, not %q", name, got, want)
			}
		}
		second, err := n.see(ctx, client)
		if err != nil {
			return err
		}
		if first.Connection != second.Connection || first.Protocol != "HTTP/1.1" {
			return fmt.Errorf("the connection to the backend is not kept (%s)", first.Protocol)
		}
	}
	return nil
}

func (n inspection) see(ctx context.Context, client *http.Client) (s sight, err error) {
	body, _, err := n.request(ctx, client, http.MethodGet, seePath, nil)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(body, &s)
}

func (n inspection) webSocket(ctx context.Context) error {
	c, err := dialWebSocket(ctx, n.instance)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	return echoOnce(ctx, c, []byte("hello"))
}

// resumption: the same session is resumed twice, as the loads do.
func (n inspection) resumption(ctx context.Context) error {
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		h := handshakes{label: "ec", version: version}
		config := h.config(n.instance)
		if _, err := newSession(ctx, n.instance, config); err != nil {
			return fmt.Errorf("%s: %w", tls.VersionName(version), err)
		}
		for range 2 {
			if err := connectOnce(ctx, n.address, config, true); err != nil {
				return fmt.Errorf("%s: %w", tls.VersionName(version), err)
			}
		}
	}
	return nil
}

func (n inspection) host() string { return n.token.pair("ec").Host }

func (n inspection) request(ctx context.Context, client *http.Client, method, path string, body []byte) ([]byte, *tls.ConnectionState, error) {
	request, err := http.NewRequestWithContext(ctx, method, "https://"+n.address+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	request.Host = n.host()
	answer, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	return got, answer.TLS, err
}
