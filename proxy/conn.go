package proxy

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// conn is an accepted connection below TLS, and what must be known of it above.
type conn struct {
	net.Conn
	socket   net.Conn // the one that was accepted, whatever is above it
	listener *listener
	site     *site // set once, in the handshake; nil when no site serves the name

	introduced *introduction // set once, before the handshake

	// Set once, after the handshake.
	tls     *tls.Conn // nil: plain HTTP
	version uint16    // of TLS
	resumed bool
	peer    peer
	gone    func() bool // looks whether the client has left, where nobody reads from it; nil: somebody does

	use     atomic.Uint32 // see wasted.go
	network netip.Addr    // the client's; set when use becomes useSigned

	waiting atomic.Pointer[func() time.Duration] // see room.go

	authority atomic.Pointer[[]byte] // the last one that was found to be the site's

	held   footprint
	once   sync.Once
	closed func() // gives back the listener's slot
}

// NetConn lets codecs find the socket.
func (c *conn) NetConn() net.Conn { return c.Conn }

// RemoteAddr is the client's address, also behind a balancer that introduces it.
func (c *conn) RemoteAddr() net.Addr {
	if c.introduced != nil {
		return c.introduced.client
	}
	return c.Conn.RemoteAddr()
}

// LocalAddr is the address that the client connected to, likewise.
func (c *conn) LocalAddr() net.Addr {
	if c.introduced != nil {
		return c.introduced.local
	}
	return c.Conn.LocalAddr()
}

// CloseWrite lets the codec end a connection without TLS as it ends others.
func (c *conn) CloseWrite() error {
	raw := c.Conn
	for r, ok := raw.(*replayed); ok; r, ok = raw.(*replayed) {
		raw = r.Conn
	}
	if half, ok := raw.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Close closes the socket; the first call gives the slot back.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.closed()
		c.settle()
	})
	return err
}

// closeGrace is how long the end of TCP may take to come behind that of TLS.
const closeGrace = 50 * time.Millisecond

// halfClosed says whether a client of HTTP/1.1 that has said that it sends no more still
// waits for an answer.
func (c *conn) halfClosed() bool {
	if c.gone == nil || c.gone() {
		return false
	}
	time.Sleep(closeGrace)
	return !c.gone()
}

// shaken notes what the handshake came to.
func (c *conn) shaken(t *tls.Conn, state tls.ConnectionState) {
	c.tls = t
	c.version, c.resumed = state.Version, state.DidResume
	for r, ok := c.Conn.(*replayed); ok && len(r.first) == 0; r, ok = c.Conn.(*replayed) {
		c.Conn = r.Conn
	}
	c.peer = newPeer(c.listener, c.RemoteAddr())
}

// peer is who a connection comes from, and how that is told to backends.
type peer struct {
	addr    netip.Addr
	trusted bool   // its word on forwarding is believed
	text    []byte // the address
	node    []byte // "for=…;host=", as Forwarded has it (RFC 7239 §4)
}

func newPeer(l *listener, remote net.Addr) peer {
	p := peer{addr: addrOf(remote)}
	p.trusted = l.trusts(p.addr)
	p.text = []byte(p.addr.String())
	p.node = []byte("for=" + forwardedNode(p.addr) + ";host=")
	return p
}

// addrOf is an address of a socket without its port, zero for one of another kind.
func addrOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
