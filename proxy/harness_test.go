package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come; it is never measured.
const patience = 20 * time.Second

// memoryKey is a CertificateSource with its key in memory.
type memoryKey struct {
	cert  tls.Certificate
	asked func(*tls.ClientHelloInfo) // nil: it need not be known
}

func (m *memoryKey) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if m.asked != nil {
		m.asked(hello)
	}
	return &m.cert, nil
}

// newCertificate makes a self-signed certificate for names. Clients of the
// tests trust what they are given by its pool.
func newCertificate(t testing.TB, names ...string) *memoryKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &memoryKey{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}
}

// backends is a Balancer that offers its addresses in order and keeps account
// of what it is told.
type backends struct {
	t         testing.TB
	addresses []string

	mu       sync.Mutex
	ticket   uint64
	open     map[uint64]string // addresses by ticket
	released []release
	changed  chan struct{}
}

type release struct {
	address string
	err     error
}

// blamed says whether the balancer was told of a failure.
func (r release) blamed() bool { return r.err != nil && !errors.Is(r.err, context.Canceled) }

func newBackends(t testing.TB, addresses ...string) *backends {
	b := &backends{t: t, addresses: addresses, open: map[uint64]string{}, changed: make(chan struct{}, 1024)}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.open) != 0 {
			t.Errorf("%d tries were not released", len(b.open))
		}
	})
	return b
}

func (b *backends) Pick(tried []string, _ bool) (string, uint64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.addresses {
		if slices.Contains(tried, a) {
			continue
		}
		b.ticket++
		b.open[b.ticket] = a
		return a, b.ticket, true
	}
	return "", 0, false
}

func (b *backends) Release(ticket uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.open[ticket]
	if !ok {
		b.t.Errorf("ticket %d was released twice, or never given", ticket)
		return
	}
	delete(b.open, ticket)
	b.released = append(b.released, release{a, err})
	b.changed <- struct{}{}
}

// next waits for the next release and returns it.
func (b *backends) next() release {
	b.t.Helper()
	select {
	case <-b.changed:
	case <-time.After(patience):
		b.t.Fatal("no try was released")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.released[0]
	b.released = b.released[1:]
	return r
}

// book is a slog.Handler whose records can be waited for.
type book struct{ lines chan map[string]slog.Value }

func newBook() *book { return &book{make(chan map[string]slog.Value, 1024)} }

func (b *book) Enabled(context.Context, slog.Level) bool { return true }
func (b *book) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *book) WithGroup(string) slog.Handler            { return b }
func (b *book) Handle(_ context.Context, r slog.Record) error {
	line := map[string]slog.Value{"msg": slog.StringValue(r.Message)}
	r.Attrs(func(a slog.Attr) bool { line[a.Key] = a.Value; return true })
	b.lines <- line
	return nil
}

func (b *book) next(t testing.TB) map[string]slog.Value {
	t.Helper()
	select {
	case line := <-b.lines:
		return line
	case <-time.After(patience):
		t.Fatal("no line in the log")
		return nil
	}
}

// until returns the next line whose message is msg.
func (b *book) until(t testing.TB, msg string) map[string]slog.Value {
	t.Helper()
	for {
		if line := b.next(t); line["msg"].String() == msg {
			return line
		}
	}
}

// front is a running server with one listener.
type front struct {
	sessions tls.ClientSessionCache // nil: every handshake is a full one
	t        testing.TB
	addr     string
	access   *book
	log      *book
	metrics  *prometheus.Registry
	roots    *x509.CertPool
	server   *Server
	stop     context.CancelFunc
	done     chan error // closed after Run's result was sent
}

const (
	www  = "www.example.org"
	base = "https://" + www
)

// siteOf is a site with a fresh certificate and one route to every path.
func siteOf(t testing.TB, name string, p *Pool, hosts ...string) Site {
	return Site{Name: name, Hosts: hosts, Certificates: newCertificate(t, hosts...), Routes: []Route{{Path: "/", Pool: p}}}
}

// serve runs a server for the site www over pool. edit may change the
// configuration before.
func serve(t testing.TB, pool *Pool, edit ...func(*Config)) *front {
	t.Helper()
	return serveMade(t, pool, func(*Server) {}, edit...)
}

// serveMade is serve, with made called before the server runs.
func serveMade(t testing.TB, pool *Pool, made func(*Server), edit ...func(*Config)) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{
		t: t, addr: l.Addr().String(), access: newBook(), log: newBook(),
		metrics: prometheus.NewRegistry(), roots: x509.NewCertPool(), done: make(chan error, 1),
	}
	c := Config{
		Listeners:       []Listener{{Listener: l}},
		Sites:           []Site{siteOf(t, "www", pool, www)},
		ShutdownTimeout: patience,
		Log:             slog.New(f.log), AccessLog: slog.New(f.access), Metrics: f.metrics,
	}
	for _, e := range edit {
		e(&c)
	}
	for _, s := range c.Sites {
		if m, ok := s.Certificates.(*memoryKey); ok {
			f.roots.AddCert(m.cert.Leaf)
		}
	}
	if f.server, err = New(c); err != nil {
		t.Fatal(err)
	}
	made(f.server)
	var ctx context.Context
	ctx, f.stop = context.WithCancel(context.Background())
	go func() { f.done <- f.server.Run(ctx); close(f.done) }()
	t.Cleanup(func() { f.stop(); f.wait() })
	return f
}

// wait waits for Run's end.
func (f *front) wait() {
	f.t.Helper()
	select {
	case err := <-f.done:
		if err != nil {
			f.t.Errorf("Run: %v", err)
		}
	case <-time.After(2 * patience):
		f.t.Error("Run did not end")
	}
}

func (f *front) tls(name string) *tls.Config {
	return &tls.Config{ServerName: name, RootCAs: f.roots, ClientSessionCache: f.sessions}
}

// client is an HTTP client that finds every name at the front; protocol is
// "h1" or "h2".
func (f *front) client(protocol string) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", f.addr)
		},
		TLSClientConfig:    &tls.Config{RootCAs: f.roots},
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(protocol == "h1")
	tr.Protocols.SetHTTP2(protocol == "h2")
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// dial opens a TLS connection for raw HTTP/1.1.
func (f *front) dial(name string) *raw {
	f.t.Helper()
	c, err := tls.Dial("tcp", f.addr, f.tls(name))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &raw{f.t, c, bufio.NewReader(c)}
}

// raw is a connection that HTTP/1.1 is written to by hand.
type raw struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// send writes text with its line ends made CRLF.
func (c *raw) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		c.t.Fatal(err)
	}
}

func (c *raw) answer() *http.Response {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	return res
}

// ended waits for the connection's end, discarding what comes before.
func (c *raw) ended() error {
	_, err := io.Copy(io.Discard, c.r)
	return err
}

func text(t testing.TB, res *http.Response) string {
	t.Helper()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// backend starts an HTTP backend and returns its address.
func backend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// rawBackend starts a backend that gives each connection to serve and closes
// it afterwards.
func rawBackend(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// refused returns an address where nobody listens, and nobody will: it is taken.
func refused(t testing.TB) string {
	t.Helper()
	fd, address := bound(t)
	t.Cleanup(func() { unix.Close(fd) })
	return address
}

// bound returns a socket that has an address and does not listen yet.
func bound(t testing.TB) (fd int, address string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

// poolOf is a pool over addresses and its bookkeeping.
func poolOf(t testing.TB, addresses ...string) (*Pool, *backends) {
	b := newBackends(t, addresses...)
	return &Pool{Name: "web", Balancer: b}, b
}

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex() // else net/http eats some of the body
	w.Header().Set("X-Target", r.RequestURI)
	w.Header().Set("X-Method", r.Method)
	io.Copy(w, r.Body)
}

// await waits for what ch brings.
func await[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func bothProtocols(t *testing.T, test func(t *testing.T, protocol string)) {
	for _, p := range []string{"h1", "h2"} {
		t.Run(p, func(t *testing.T) { test(t, p) })
	}
}
