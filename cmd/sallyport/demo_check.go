package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// demoClient makes the requests of demo --check and prints what it sees.
type demoClient struct {
	server *demoServer
	roots  *x509.CertPool
	out    io.Writer
}

func newDemoClient(dir string, s *demoServer, out io.Writer) (*demoClient, error) {
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	c := &demoClient{server: s, roots: x509.NewCertPool(), out: out}
	if !c.roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca.pem holds no certificate")
	}
	return c, nil
}

// demoCase is one way to ask.
type demoCase struct {
	host, protocol string
	version        uint16
}

func (c demoCase) String() string {
	return fmt.Sprintf("%s, %s, %s", c.host, tls.VersionName(c.version), c.protocol)
}

// check asks in every combination of key, TLS version and protocol.
func (c *demoClient) check(ctx context.Context) error {
	before, err := c.signatures(ctx)
	if err != nil {
		return err
	}
	var full int
	for _, host := range demoHosts {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, protocol := range []string{"http/1.1", "h2"} {
				way := demoCase{host, protocol, version}
				if err := c.try(ctx, way); err != nil {
					return fmt.Errorf("%s: %w", way, err)
				}
				full++
			}
		}
	}
	after, err := c.signatures(ctx)
	if err != nil {
		return err
	}
	made := after - before
	fmt.Fprintf(c.out, "the HSM made %d signatures for %d connections, of which %d resumed\n", made, 2*full, full)
	if made != full {
		return fmt.Errorf("the HSM made %d signatures; %d full handshakes need as many", made, full)
	}
	fmt.Fprintln(c.out, "ok")
	return nil
}

// try makes two connections of one kind, with two requests on each: the first
// shakes hands in full, the second must resume, and together they must have
// reached both backends.
func (c *demoClient) try(ctx context.Context, way demoCase) error {
	sessions := tls.NewLRUClientSessionCache(1)
	var backends []string
	for i, want := range []bool{false, true} {
		seen, err := c.connection(ctx, way, sessions)
		if err != nil {
			return err
		}
		if seen.state.DidResume != want {
			return fmt.Errorf("connection %d resumed: %v, want %v", i+1, seen.state.DidResume, want)
		}
		backends = append(backends, seen.backends...)
		leaf := seen.state.PeerCertificates[0]
		fmt.Fprintf(c.out, "%-19s %s  %-8s  %s certificate %s  resumed %-5v  %s\n", way.host,
			tls.VersionName(seen.state.Version), seen.protocol, leaf.PublicKeyAlgorithm, leaf.Subject.CommonName,
			seen.state.DidResume, strings.Join(seen.backends, ", "))
	}
	slices.Sort(backends)
	if both := slices.Compact(backends); len(both) != 2 {
		return fmt.Errorf("only %s answered, want both backends", strings.Join(both, ", "))
	}
	return nil
}

// seen is what one connection showed.
type seen struct {
	state    tls.ConnectionState
	protocol string
	backends []string
}

// connection makes two requests on one connection.
func (c *demoClient) connection(ctx context.Context, way demoCase, sessions tls.ClientSessionCache) (seen, error) {
	var protocols http.Protocols
	protocols.SetHTTP1(way.protocol == "http/1.1")
	protocols.SetHTTP2(way.protocol == "h2")
	transport := &http.Transport{
		Protocols: &protocols,
		TLSClientConfig: &tls.Config{
			RootCAs: c.roots, MinVersion: way.version, MaxVersion: way.version, ClientSessionCache: sessions,
		},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.server.connectTo(ctx) },
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	var s seen
	for range 2 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+way.host+"/hello", nil)
		if err != nil {
			return s, err
		}
		answer, err := client.Do(r)
		if err != nil {
			return s, err
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return s, err
		}
		name := answer.Header.Get("X-Backend")
		if answer.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "hello from "+name) {
			return s, fmt.Errorf("answer %s: %q", answer.Status, body)
		}
		s.state, s.protocol = *answer.TLS, answer.Proto
		s.backends = append(s.backends, name)
	}
	return s, nil
}

// signatures reads from the metrics how many signatures the token has made.
func (c *demoClient) signatures(ctx context.Context) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.server.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	total := 0
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "sallyport_signatures_total{") || !strings.Contains(lines.Text(), `result="ok"`) {
			continue
		}
		var n float64
		if _, err := fmt.Sscan(lines.Text()[strings.LastIndexByte(lines.Text(), ' '):], &n); err != nil {
			return 0, fmt.Errorf("metrics: %q: %w", lines.Text(), err)
		}
		total += int(n)
	}
	return total, lines.Err()
}
