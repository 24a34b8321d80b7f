package proxy

import (
	"crypto"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// patientKey signs when it is told to.
type patientKey struct {
	crypto.Signer
	conn net.Conn // of the handshake
	asks chan struct{}
	goes chan error // what it fails with; nil: it signs
}

func (k *patientKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.asks <- struct{}{}
	if err := <-k.goes; err != nil {
		return nil, err
	}
	return k.Signer.Sign(rand, digest, opts)
}

// While a handshake waits for its signature nobody reads from the socket. That its client
// has hung up can be seen all the same, in whatever way it did.
func TestConn_KnowsThatItsClientHungUpInTheHandshake(t *testing.T) {
	for name, hangUp := range map[string]func(c *net.TCPConn) error{
		"closes":                   (*net.TCPConn).Close,
		"resets":                   func(c *net.TCPConn) error { _ = c.SetLinger(0); return c.Close() },
		"ends its half":            (*net.TCPConn).CloseWrite,
		"closes with bytes behind": func(c *net.TCPConn) error { _, _ = c.Write(make([]byte, 100)); return c.Close() },
		"stays":                    nil,
	} {
		t.Run(name, func(t *testing.T) {
			pool, _ := poolOf(t, backend(t, echo))
			key := &patientKey{asks: make(chan struct{}), goes: make(chan error)}
			f := serve(t, pool, func(c *Config) {
				m := c.Sites[0].Certificates.(*memoryKey)
				m.asked = func(hello *tls.ClientHelloInfo) { key.conn = hello.Conn }
				key.Signer = m.cert.PrivateKey.(crypto.Signer)
				m.cert.PrivateKey = key
			})
			raw, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			done := make(chan error, 1)
			go func() { done <- tls.Client(raw, f.tls(www)).Handshake() }()
			<-key.asks
			gone := key.conn.(interface{ Gone() bool }).Gone
			if gone() {
				t.Error("it has gone before it has")
			}
			if hangUp == nil {
				if gone() {
					t.Error("it has gone, and has not")
				}
				key.goes <- nil
				if err := <-done; err != nil {
					t.Error(err)
				}
				return
			}
			if err := hangUp(raw.(*net.TCPConn)); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(10 * time.Second); !gone(); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("nobody notices")
				}
			}
			key.goes <- busyError{} // as the queue in front of a token says it
			<-done
			if n := testutil.ToFloat64(f.server.metrics.handshakesAgain); n != 0 {
				t.Errorf("%v handshakes were made again for nobody", n)
			}
		})
	}
}
