package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"sallyport/configs"
	"sallyport/proxy/admin"
)

// asker asks the service that runs with a configuration.
type asker struct{ network, address string }

// answerTime is how long a page may take. What changes something may take longer.
const answerTime = 10 * time.Second

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// newAsker asks over the admin socket, or where that is off over the admin address.
func newAsker(config *configs.Config) (*asker, error) {
	if config.Admin.HasSocket() {
		return newSocketAsker(config)
	}
	address := config.Admin.Address
	host, port, err := net.SplitHostPort(address)
	if !config.Admin.Enabled() || err != nil || strings.HasPrefix(address, "systemd:") || port == "0" {
		return nil, hint(fmt.Errorf("the service cannot be asked: admin.socket is off, and admin.address is %s", address),
			"set admin.socket, and restart the service")
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	return &asker{network: "tcp", address: net.JoinHostPort(host, port)}, nil
}

// newSocketAsker asks over the admin socket, as whatever changes something must.
func newSocketAsker(config *configs.Config) (*asker, error) {
	if !config.Admin.HasSocket() {
		return nil, hint(errors.New("admin.socket is off, and the service takes this nowhere else"),
			"set admin.socket, such as /run/sallyport/admin.sock, and restart the service")
	}
	return &asker{network: "unix", address: config.Admin.Socket}, nil
}

// ask makes a request and decodes the JSON of its answer into result.
func (a *asker) ask(ctx context.Context, method, path string, result any) error {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: answerTime}
			return d.DialContext(ctx, a.network, a.address)
		},
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return a.explain(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return a.explain(err)
	}
	if answer.StatusCode == http.StatusOK && json.Unmarshal(body, result) == nil {
		return nil
	}
	var refusal admin.Refusal
	if json.Unmarshal(body, &refusal) == nil && refusal.Text != "" {
		return hint(errors.New(refusal.Text), refusal.Hint)
	}
	return hint(fmt.Errorf("what listens at %s does not answer as sallyport serve does (status %d)", a.address, answer.StatusCode),
		"is another program, or another release of sallyport, running there?")
}

// explain says what it means that there is no answer.
func (a *asker) explain(err error) error {
	err = fmt.Errorf("ask the service at %s: %w", a.address, err)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return hint(err, "no service runs there; `journalctl -u sallyport` may say why")
	case errors.Is(err, os.ErrPermission), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return hint(err, "only root and the service's own user are answered there")
	case errors.Is(err, context.DeadlineExceeded):
		return hint(err, "it may be starting still, and waiting for a token: its log says so")
	}
	return err
}
