package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// server is a program under test.
type server struct {
	name      string
	usesToken bool // else it has the same keys in files
	version   []string
	configure func(setup) (command, error) // writes its files into setup.Dir
}

// servers in the order of turns, tables and charts.
var servers = []server{sallyport, nginx, haproxy, caddy}

// serverThreads is how many threads or workers serve in each, on as many CPUs.
const serverThreads = 2

// setup is what a server's configuration is made of.
type setup struct {
	*token
	Dir       string
	Address   string // to listen on
	Web, Sink string // the backends' addresses
	Threads   int
}

// Port is the address's.
func (s setup) Port() string {
	_, port, _ := net.SplitHostPort(s.Address)
	return port
}

// User is nginx's user setting: its workers keep the master's, so that they can
// read the files of this run.
func (s setup) User() string {
	if os.Getuid() == 0 {
		return "user root;\n"
	}
	return ""
}

// instance is a server that runs.
type instance struct {
	server
	*process
	address string
	token   *token
}

// startInstance starts a server and waits until it shakes hands.
func (b *bench) startInstance(s server, t *token) (*instance, error) {
	b.started++
	dir := filepath.Join(b.dir, fmt.Sprintf("%d-%s", b.started, strings.ToLower(s.name)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return onFreeAddress(func(address string) (*instance, error) {
		c, err := s.configure(setup{
			token: t, Dir: dir, Address: address,
			Web: b.backends.web, Sink: b.backends.sink,
			Threads: serverThreads,
		})
		if err != nil {
			return nil, err
		}
		c.pinned = true
		p, err := startProcess(c, filepath.Join(dir, "output.log"))
		if err != nil {
			return nil, err
		}
		i := &instance{server: s, process: p, address: address, token: t}
		if err := p.waitUntil(i.shakesHands); err != nil {
			return nil, errors.Join(err, p.stop())
		}
		return i, nil
	})
}

func (i *instance) shakesHands() error {
	d := &net.Dialer{Timeout: 5 * time.Second}
	c, err := tls.DialWithDialer(d, "tcp", i.address, i.clientTLS("ec"))
	if err != nil {
		return err
	}
	return c.Close()
}

// clientTLS has a client do the same with every server: the key of this label,
// TLS 1.3 with its first suite, HTTP/1.1, the key exchange that all have.
// Whose certificate it is has been looked at by the inspection; only whether
// the handshake is signed by its key is checked every time.
func (i *instance) clientTLS(label string) *tls.Config {
	return &tls.Config{
		ServerName:         i.token.pair(label).Host,
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		NextProtos:         []string{"http/1.1"},
	}
}
