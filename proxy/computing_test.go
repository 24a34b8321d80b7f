package proxy

import (
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"testing"
	"time"
)

// Handshakes that would compute more than the machine can wait for one another. Those that
// resume, and those that wait for a signature, neither wait nor are waited for.
func TestHandshake_ComputesInTurn(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	key := &patientKey{asks: make(chan struct{}, 1), goes: make(chan error, 1)}
	f := serve(t, pool, func(c *Config) {
		m := c.Sites[0].Certificates.(*memoryKey)
		m.asked = func(hello *tls.ClientHelloInfo) { key.conn = hello.Conn }
		key.Signer = m.cert.PrivateKey.(crypto.Signer)
		m.cert.PrivateKey = key
	})
	places := f.server.computing
	free := func(when string) {
		t.Helper()
		for deadline := time.Now().Add(patience); len(places) > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d places are taken", when, len(places))
			}
		}
	}
	shake := func(conf *tls.Config) <-chan error {
		done := make(chan error, 1)
		go func() {
			raw, err := tls.Dial("tcp", f.addr, conf)
			if err == nil {
				_, _ = io.WriteString(raw, "GET / HTTP/1.1\r\nHost: "+www+"\r\nConnection: close\r\n\r\n")
				_, err = io.ReadAll(raw) // its ticket comes with it
				raw.Close()
			}
			done <- err
		}()
		return done
	}
	resuming := f.tls(www)
	resuming.ClientSessionCache = tls.NewLRUClientSessionCache(1)

	done := shake(resuming)
	<-key.asks
	free("a signature is waited for")
	key.goes <- nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	free("a handshake is done")

	distrusting := f.tls(www)
	distrusting.VerifyConnection = func(tls.ConnectionState) error { return errors.New("not this one") }
	done = shake(distrusting)
	<-key.asks
	key.goes <- nil
	if err := <-done; err == nil {
		t.Error("it trusts the certificate")
	}
	free("a handshake has failed")

	for range cap(places) {
		places <- struct{}{}
	}
	waits := shake(f.tls(www))
	// One that begins after it and resumes is served before it.
	if err := <-shake(resuming); err != nil {
		t.Fatal(err)
	}
	select {
	case <-key.asks:
		t.Error("it did not wait for a place")
	default:
	}
	for range cap(places) {
		<-places
	}
	<-key.asks
	key.goes <- nil
	if err := <-waits; err != nil {
		t.Error(err)
	}
	free("all are done")
}
