package http1

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (here, there *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close(); dialed.Close() })
	dialed.SetDeadline(time.Now().Add(patience))
	return accepted.(*net.TCPConn), dialed.(*net.TCPConn)
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// halfConn is a connection whose writing half can be closed.
type halfConn interface {
	net.Conn
	CloseWrite() error
}

// overBoth runs f over TCP and over TLS.
func overBoth(t *testing.T, f func(t *testing.T, server net.Conn, client halfConn)) {
	t.Run("tcp", func(t *testing.T) {
		server, client := pair(t)
		f(t, server, client)
	})
	t.Run("tls", func(t *testing.T) {
		server, client := tlsPair(t, func(c net.Conn) net.Conn { return c })
		f(t, server, client)
	})
}

// tlsPair returns both ends of a TLS connection, of which wrap may wrap the
// server's socket.
func tlsPair(t *testing.T, wrap func(net.Conn) net.Conn) (server, client *tls.Conn) {
	t.Helper()
	here, there := pair(t)
	server = tls.Server(wrap(here), &tls.Config{
		Certificates: []tls.Certificate{certificate()}, SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
	})
	client = tls.Client(there, &tls.Config{InsecureSkipVerify: true}) // its own end is on the same page
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// serve runs a loop over conn's requests until the test is over or there are
// none, and returns what ended it.
func serve(t *testing.T, conn *ServerConn, handle func(x *Exchange)) <-chan error {
	ended := make(chan error, 1)
	go func() {
		defer conn.Close()
		for {
			x, err := conn.Next()
			if err != nil {
				var refused *Error
				if errors.As(err, &refused) {
					conn.Refuse(refused)
				}
				ended <- err
				return
			}
			handle(x)
		}
	}()
	return ended
}

// backend runs a server of one connection, handled as serve does.
func backend(t *testing.T, handle func(x *Exchange)) *ClientConn {
	t.Helper()
	here, there := pair(t)
	serve(t, NewServerConn(here, Config{}.WithDefaults()), handle)
	return NewClientConn(there, ClientConfig{}.WithDefaults())
}

// await returns what comes out of ch.
func await[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads an answer to a request of some method, with its body.
func answer(t *testing.T, b *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(b, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode == 101 {
		return res, ""
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// isTimeout says whether an error is of a deadline that passed.
func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
