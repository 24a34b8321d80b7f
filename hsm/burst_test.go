package hsm_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// halted is a token of one session that signs nothing until it is released.
func halted(t *testing.T) (*hsm.Token, *hsmtest.Faulty) {
	t.Helper()
	made := hsmtest.NewSoftHSM(t)
	f := hsmtest.NewFaulty(t, made)
	c := configOf(made)
	c.Settings.Module, c.Environment = f.Module, f.Environment
	c.Settings.Sessions, c.SignTimeout = 1, time.Minute
	return up(t, c), f
}

// waiting waits until so many signatures by ECDSA wait.
func waiting(t *testing.T, token *hsm.Token, n int) {
	t.Helper()
	eventually(t, "they wait", func() bool { return token.Status().Lanes[0].Waiting == n })
}

// More clients of one address come at once than the token can serve in that moment, and
// fewer than it can in time: none is refused.
func TestToken_ServesABurst(t *testing.T) {
	token, f := halted(t)
	k := find(t, token, "pkcs11:object=ec")
	f.Hang("C_Sign")
	const burst = 1000
	done := make(chan error, burst)
	digest := sha256.Sum256([]byte("message"))
	for range burst {
		go func() {
			_, err := k.SignContext(t.Context(), digest[:], crypto.SHA256)
			done <- err
		}()
	}
	waiting(t, token, burst-1)
	f.Release()
	for range burst {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// leavingConn is a connection whose client hangs up on command.
type leavingConn struct {
	net.Conn
	gone *atomic.Bool
}

func (c leavingConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }
func (c leavingConn) Gone() bool           { return c.gone.Load() }

// A client sends ClientHellos and hangs up: no signature is made for it, and its key is not
// in doubt for that.
func TestCertificates_SignNothingForWhoHasHungUp(t *testing.T) {
	token, f := halted(t)
	site := siteOf(t, token, hsm.Entry{Key: uri(t, "pkcs11:object=ec")})
	f.Hang("C_Sign")
	f.ResetStats()
	var gone atomic.Bool
	shake := func(gone *atomic.Bool) <-chan error {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close(); far.Close() })
		done := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		go func() {
			defer cancel()
			defer far.Close()
			done <- tls.Server(leavingConn{far, gone}, &tls.Config{GetCertificate: site.Certificate}).HandshakeContext(ctx)
		}()
		go func() { _ = tls.Client(near, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) }()
		return done
	}
	first := shake(new(atomic.Bool))
	eventually(t, "the session is taken", func() bool { return token.Status().Lanes[0].InFlight == 1 })
	var left []<-chan error
	for n := range 20 {
		left = append(left, shake(&gone))
		waiting(t, token, n+1)
	}
	stays := shake(new(atomic.Bool))
	waiting(t, token, 21)
	gone.Store(true)
	f.Release()
	for _, done := range left {
		if err := <-done; err == nil {
			t.Error("a handshake with nobody came about")
		}
	}
	for _, done := range []<-chan error{first, stays} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := f.Stats()["C_Sign"].Made; n != 2 {
		t.Errorf("%d signatures were made, want 2", n)
	}
}
