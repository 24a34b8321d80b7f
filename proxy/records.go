package proxy

import (
	"crypto/tls"
	"net"
)

// records is a TLS connection on a socket that sends what is written at once as one piece,
// though crypto/tls makes records of it and a system call of each. Without that
// the network has every one of them to itself, and the client is woken for it.
type records struct {
	*tls.Conn
	socket *tcpConn
}

// recordSize is what goes into one (RFC 8446 §5.1).
const recordSize = 16 << 10

func newRecords(t *tls.Conn, socket net.Conn) net.Conn {
	s, ok := socket.(*tcpConn)
	if !ok {
		return t
	}
	return &records{t, s}
}

// Write implements net.Conn.
func (r *records) Write(p []byte) (int, error) {
	whole := 0
	if len(p) > recordSize {
		whole = (len(p) - 1) / recordSize * recordSize
		r.socket.more.Store(true)
		n, err := r.Conn.Write(p[:whole])
		r.socket.more.Store(false)
		if err != nil {
			return n, err
		}
	}
	n, err := r.Conn.Write(p[whole:])
	return whole + n, err
}
