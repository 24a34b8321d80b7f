package http2

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport/proxy/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

var testTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"localhost"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"h2"},
	}
})

// front is a listener whose connections are served by this package.
type front struct {
	net.Listener
	cfg     Config
	handler func(message.Exchange)

	wg    sync.WaitGroup
	mu    sync.Mutex
	conns map[*ServerConn]bool
	errs  []error
}

// serve listens until the test ends, and waits then for its connections.
func serve(t testing.TB, cfg Config, handler func(message.Exchange)) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Secure {
		l = tls.NewListener(l, testTLS())
	}
	f := &front{Listener: l, cfg: cfg, handler: handler, conns: make(map[*ServerConn]bool)}
	f.wg.Go(f.accept)
	t.Cleanup(func() {
		l.Close()
		f.each((*ServerConn).Close)
		f.wg.Wait()
	})
	return f
}

func (f *front) accept() {
	for {
		nc, err := f.Accept()
		if err != nil {
			return
		}
		c := NewServerConn(nc, f.cfg, f.handler)
		f.mu.Lock()
		f.conns[c] = true
		f.mu.Unlock()
		f.wg.Go(func() {
			err := c.Run()
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.conns, c)
			f.errs = append(f.errs, err)
		})
	}
}

func (f *front) each(do func(*ServerConn)) {
	f.mu.Lock()
	var all []*ServerConn
	for c := range f.conns {
		all = append(all, c)
	}
	f.mu.Unlock()
	for _, c := range all {
		do(c)
	}
}

// ended waits for the end of n connections, and returns how they ended.
func (f *front) ended(t testing.TB, n int) []error {
	t.Helper()
	var errs []error
	eventually(t, "end of "+strconv.Itoa(n)+" connections", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		errs = append([]error(nil), f.errs...)
		return len(errs) >= n
	})
	return errs
}

func (f *front) port() int { return f.Addr().(*net.TCPAddr).Port }

// answer answers with a status and a body.
func answer(e message.Exchange, status int, body string) {
	if e.WriteHead(&message.Response{Status: status, Length: int64(len(body))}, false) == nil {
		e.WriteBody([]byte(body), false)
		e.End(nil)
	}
}

// hello reads the request's body, and greets.
func hello(e message.Exchange) {
	if _, err := io.Copy(io.Discard, e.Body()); err != nil {
		e.Reset()
		return
	}
	answer(e, 200, "hello, world")
}

// echo answers with the request's body as it comes, and its trailers.
func echo(e message.Exchange) {
	if e.WriteHead(&message.Response{Status: 200, Length: message.Unknown}, false) != nil {
		return
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := e.Body().Read(buf)
		switch {
		case errors.Is(err, io.EOF):
			e.End(e.Body().Trailers())
			return
		case err != nil:
			e.Reset()
			return
		}
		if e.WriteBody(buf[:n], true) != nil {
			return
		}
	}
}
