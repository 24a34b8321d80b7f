package proxy

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// conn is an accepted connection below TLS, and what must be known of it above.
type conn struct {
	net.Conn
	listener *listener
	site     *site // set once, in the handshake; nil when no site serves the name

	// Set once, after the handshake.
	version uint16 // of TLS
	resumed bool
	peer    peer
	gone    func() bool // looks whether the client has left, where nobody reads from it; nil: somebody does

	authority atomic.Pointer[[]byte] // the last one that was found to be the site's

	once   sync.Once
	closed func() // gives back the listener's slot
}

// NetConn lets codecs find the socket.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Close closes the socket; the first call gives the slot back.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}

// shaken notes what the handshake came to.
func (c *conn) shaken(state tls.ConnectionState) {
	c.version, c.resumed = state.Version, state.DidResume
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
	var p peer
	if ap, err := netip.ParseAddrPort(remote.String()); err == nil {
		p.addr = ap.Addr().Unmap().WithZone("")
	}
	p.trusted = l.trusts(p.addr)
	p.text = []byte(p.addr.String())
	p.node = []byte("for=" + forwardedNode(p.addr) + ";host=")
	return p
}
