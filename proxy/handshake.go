package proxy

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// handshake does c's TLS handshake, unless the listener has none, and lets the
// connection be served. It is the body
// of a goroutine of its own, so that a signature that takes its time holds up
// this connection only. A PROXY header and the ClientHello come within the header timeout,
// since a client far away may be slow to send them; the rest is over within the handshake
// timeout, which bounds what a token has to do. It ends when the server
// stops waiting for handshakes, too: HandshakeContext closes the socket.
func (l *listener) handshake(c *conn) {
	defer l.server.handshakes.done()
	defer l.server.caught(inHandshake, func() { c.Close() })
	ctx, cancel := context.WithTimeout(l.server.handshakeCtx, l.Timeouts.Header)
	defer cancel()

	if err := l.introduce(ctx, c); err != nil {
		l.server.log.Debug("connection refused", "listener", l.Name, "peer", c.RemoteAddr(), "error", err)
		c.Close()
		return
	}
	if !l.enter(c) {
		l.server.log.Debug("connection refused", "listener", l.Name, "peer", c.RemoteAddr(), "error", "memory is short")
		c.Close()
		return
	}
	if l.Redirect != nil {
		c.shaken(nil, tls.ConnectionState{})
		l.serve(c, c, "")
		return
	}
	first, err := newRehearsal(ctx, c.Conn)
	c.servedBy(nil)
	began := time.Now()
	t := tls.Server(c, l.tls)
	if err == nil {
		cancel()
		ctx, cancel := context.WithTimeout(l.server.handshakeCtx, l.Timeouts.Handshake)
		defer cancel()
		t, err = l.shake(ctx, c, t, first)
	}
	state := t.ConnectionState()
	l.server.metrics.handshake(c.site, state, err, time.Since(began))
	if err != nil {
		if alerted(err) {
			c.failed()
		}
		l.server.log.Debug("handshake failed", "listener", l.Name, "client", c.RemoteAddr(), "site", siteName(c.site), "error", err)
		c.Close()
		return
	}
	c.shaken(t, state)
	ackSoon(c.Conn)
	l.serve(c, newRecords(t, c.Conn), state.NegotiatedProtocol)
}

// alerted reports whether a handshake failed by an alert of the client's: it distrusts
// the certificate, or shares no parameters with this server.
func alerted(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// shake makes the handshake. One that fails for a signature is made again from
// the start, with the same ClientHello, as long as nothing has been sent: the
// site may have another certificate, on another token, that does sign. crypto/tls
// sends nothing before the signature is made, but for a HelloRetryRequest.
func (l *listener) shake(ctx context.Context, c *conn, t *tls.Conn, first *rehearsal) (*tls.Conn, error) {
	defer first.rest()
	c.Conn = first
	err := t.HandshakeContext(ctx)
	c.Conn = first.Conn
	if err != nil && first.failed && ctx.Err() == nil {
		l.server.metrics.handshakesAgain.Inc()
		c.Conn = first.replay()
		t = tls.Server(c, l.tls)
		err = t.HandshakeContext(ctx)
	}
	return t, err
}

// watchedKey tells of a signature that was made or failed, and may hold it back.
type watchedKey struct {
	crypto.Signer
	ctx       context.Context // the handshake's
	conn      *conn
	handshake *rehearsal
}

func (k watchedKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.handshake.rest()
	if err := k.conn.holdBack(k.ctx); err != nil {
		return nil, err
	}
	signature, err := k.Signer.Sign(rand, digest, opts)
	switch {
	case err == nil:
		k.conn.signed()
	case !busy(err):
		k.handshake.signatureFailed()
	}
	return signature, err
}

// busy says whether a signature failed only because too many are wanted: then a
// second handshake would want one more.
func busy(err error) bool {
	var b interface{ Busy() bool }
	return errors.As(err, &b) && b.Busy()
}

// watchKey returns a site's GetCertificate: its certificates, with their keys
// watched.
func watchKey(source CertificateSource) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		certificate, err := source.Certificate(hello)
		if err != nil {
			return nil, err
		}
		c, _ := hello.Conn.(*conn)
		if c == nil {
			return certificate, nil
		}
		key, ok := certificate.PrivateKey.(crypto.Signer)
		first, isFirst := c.Conn.(*rehearsal)
		if !ok || !isFirst {
			return certificate, nil // the second try; or crypto/tls says what is wrong with the key
		}
		watched := *certificate
		watched.PrivateKey = watchedKey{key, hello.Context(), c, first}
		return &watched, nil
	}
}

func siteName(s *site) string {
	if s == nil {
		return ""
	}
	return s.name
}
