package proxy

import (
	"bytes"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"sallyport/proxy/http1"
	"sallyport/proxy/http2"
	"sallyport/proxy/memory"
	"sallyport/proxy/message"
)

// client is a connection that is served, by either protocol.
type client interface {
	// Shutdown lets what is under way finish, and takes nothing new. It may be
	// called again.
	Shutdown()
	// Close breaks everything off.
	Close() error
}

// serve has a connection served whose handshake is done, by t. A drain knows of it when
// serve returns. The goroutine is a fresh one: the stack that the handshake's has grown
// to need not stay for as long as the connection does.
func (l *listener) serve(c *conn, t net.Conn, protocol string) {
	if protocol == "h2" {
		l.serveHTTP2(c, t)
	} else {
		l.serveHTTP1(c, t)
	}
}

func (l *listener) serveHTTP1(c *conn, t net.Conn) {
	h := &http1Client{ServerConn: http1.NewServerConn(t, l.http1), socket: c}
	c.gone = h.Gone
	c.servedBy(h.Waited)
	l.server.clients.add(h)
	go l.answerRequests(h)
}

// answerRequests answers a connection's requests until it ends. A connection that
// has become quiet goes on waiting in a fresh goroutine, whose stack has not grown.
func (l *listener) answerRequests(h *http1Client) {
	defer l.server.caught(inConnection, func() {
		h.Close()
		l.server.clients.remove(h)
	})
	busy := false
	for {
		x, err := h.Next()
		if err == http1.ErrQuiet {
			h.quiet.Store(true)
			h.socket.held.set(connBytes)
			go l.answerRequests(h)
			return
		}
		if err != nil {
			var bad *http1.Error
			if errors.As(err, &bad) {
				l.refuse(h.socket, h.ServerConn, bad)
			}
			break
		}
		if !busy {
			busy = true
			h.quiet.Store(false)
			h.socket.held.set(connBytes + requestBytes)
		}
		h.served.Store(true)
		l.handle(h.socket, x)
	}
	h.ServerConn.Close()
	l.server.clients.remove(h)
}

// refuse answers what is no request, and writes that down.
func (l *listener) refuse(c *conn, h *http1.ServerConn, bad *http1.Error) {
	l.noteRefused(c, h.Refused(), bad.Status, bad.Reason)
	h.Refuse(bad)
}

// noteRefused writes down what a codec has refused, with what it has read of it.
func (l *listener) noteRefused(c *conn, in *message.Request, status int, reason string) {
	c.failed()
	x := exchanges.Get().(*exchange)
	x.server, x.listener, x.conn, x.site = l.server, l, c, c.site
	in.Path, in.Authority = withoutUser(in.Path), withoutUser(in.Authority)
	x.in = in
	x.path, _ = cutQuery(in.Path)
	x.began = time.Now()
	x.nameRequest()
	x.status = status
	x.outcome = &failure{status, reason}
	x.finish()
	x.free()
}

// withoutUser cuts off a target or an authority, neither of which may have userinfo, what
// stands before its host: it may be a password.
func withoutUser(b []byte) []byte {
	begin := 0
	if i := bytes.Index(b, []byte("://")); i >= 0 {
		begin = i + len("://")
	}
	if begin == 0 && len(b) > 0 && b[0] == '/' {
		return b // a path
	}
	end := len(b)
	if i := bytes.IndexAny(b[begin:], "/?#"); i >= 0 {
		end = begin + i
	}
	if at := bytes.LastIndexByte(b[begin:end], '@'); at >= 0 {
		return b[begin+at+1:]
	}
	return b
}

// http1Client is an HTTP/1 connection as a drain sees it.
type http1Client struct {
	*http1.ServerConn
	socket *conn
	served atomic.Bool // it has had a request
	quiet  atomic.Bool // it has had none for a while
	told   atomic.Bool
}

// Shutdown ends the connection after its request, or now if it has none; one
// that has not had any yet has a moment to send it.
func (h *http1Client) Shutdown() {
	if h.told.Swap(true) {
		return
	}
	if h.served.Load() {
		h.Drain()
		return
	}
	time.AfterFunc(freshGrace, func() { h.socket.listener.server.guarded(inDrain, h.Drain) })
}

// Close implements client.
func (h *http1Client) Close() error { return h.socket.Close() }

func (h *http1Client) close() { _ = h.socket.Close() }

// Idle reports whether the connection has been without a request for a while.
func (h *http1Client) Idle() bool { return h.quiet.Load() }

// unread implements idler.
func (h *http1Client) unread() time.Duration { return h.socket.unread() }

func (h *http1Client) account() *memory.Client { return h.socket.held.by }

func (l *listener) serveHTTP2(c *conn, t net.Conn) {
	cfg := l.http2
	account := l.server.memory.Client(c.peer.addr)
	cfg.Memory = account
	cfg.Refused = func(r *message.Request, status int, reason string) { l.noteRefused(c, r, status, reason) }
	h := &http2Client{http2.NewServerConn(t, cfg, func(x message.Exchange) { l.handle(c, x) }), c, account}
	c.servedBy(func() time.Duration { return max(h.Waited(), h.Stalled()) })
	l.server.clients.add(h)
	go l.run(c, t, h)
}

// run serves a connection's streams until it ends.
func (l *listener) run(c *conn, t net.Conn, h *http2Client) {
	defer l.server.clients.remove(h)
	defer h.memory.Release()
	defer t.Close()
	defer l.server.caught(inConnection, func() {})
	if err := h.Run(); err != nil {
		l.server.log.Debug("connection ended", "listener", l.Name, "client", c.RemoteAddr(), "error", err)
	}
}

// http2Client is an HTTP/2 connection as a drain sees it.
type http2Client struct {
	*http2.ServerConn
	socket *conn
	memory *memory.Client
}

// unread implements idler.
func (h *http2Client) unread() time.Duration { return max(h.socket.unread(), h.Stalled()) }

func (h *http2Client) close() { _ = h.socket.Close() }

func (h *http2Client) account() *memory.Client { return h.memory }

// Close implements client.
func (h *http2Client) Close() error {
	h.ServerConn.Close()
	return nil
}
