package proxy

import (
	"cmp"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// flakyKey fails to sign as often as it is told, like a key whose token has just gone.
type flakyKey struct {
	crypto.Signer
	fails atomic.Int32
	err   error // nil: some other failure
}

func (k *flakyKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.fails.Add(-1) >= 0 {
		return nil, cmp.Or(k.err, errors.New("token is down"))
	}
	return k.Signer.Sign(rand, digest, opts)
}

func flakySite(t *testing.T, edit ...func(*Config)) (*front, *flakyKey) {
	pool, _ := poolOf(t, backend(t, echo))
	key := new(flakyKey)
	edit = append(edit, func(c *Config) {
		m := c.Sites[0].Certificates.(*memoryKey)
		key.Signer = m.cert.PrivateKey.(crypto.Signer)
		m.cert.PrivateKey = key
	})
	return serve(t, pool, edit...), key
}

func TestHandshake_IsMadeAgainWhenASignatureFails(t *testing.T) {
	f, key := flakySite(t)
	repeated := 0
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, curves := range [][]tls.CurveID{nil, {tls.X25519}, {tls.CurveP256}} {
			t.Run(fmt.Sprintf("%s %v", tls.VersionName(version), curves), func(t *testing.T) {
				key.fails.Store(1)
				conf := f.tls(www)
				conf.MinVersion, conf.MaxVersion, conf.CurvePreferences = version, version, curves
				conn, err := tls.Dial("tcp", f.addr, conf)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if key.fails.Load() >= 0 {
					t.Error("no signature failed: this shows nothing")
				}
				// What follows on the connection is whole.
				if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+www+"\r\nConnection: close\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				answer, err := io.ReadAll(conn)
				if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 OK") {
					t.Errorf("%q, %v", answer, err)
				}
			})
			repeated++
		}
	}
	if n := testutil.ToFloat64(f.server.metrics.handshakesAgain); int(n) != repeated {
		t.Errorf("%v handshakes were repeated, want %d", n, repeated)
	}
}

// busyError is what a full queue in front of a token fails with.
type busyError struct{}

func (busyError) Error() string { return "too many signatures wait" }
func (busyError) Busy() bool    { return true }

func TestHandshake_IsNotMadeAgainWhenTheTokenIsBusy(t *testing.T) {
	f, key := flakySite(t)
	key.err = fmt.Errorf("hsm: %w", busyError{})
	key.fails.Store(1)
	if _, err := tls.Dial("tcp", f.addr, f.tls(www)); err == nil {
		t.Error("the handshake was made again, for one more signature")
	}
	if n := testutil.ToFloat64(f.server.metrics.handshakesAgain); n != 0 {
		t.Errorf("%v handshakes were repeated", n)
	}
}

func TestHandshake_IsMadeAgainOnceOnly(t *testing.T) {
	f, key := flakySite(t)
	key.fails.Store(2)
	_, err := tls.Dial("tcp", f.addr, f.tls(www))
	if err == nil || !strings.Contains(err.Error(), "remote error: tls: internal error") {
		t.Errorf("got %v, want the alert internal_error", err)
	}
	if left := key.fails.Load(); left != 0 {
		t.Errorf("%d signatures that were to fail were not asked for", left)
	}
	conn, err := tls.Dial("tcp", f.addr, f.tls(www))
	if err != nil {
		t.Fatalf("the next connection: %v", err)
	}
	conn.Close()
}
