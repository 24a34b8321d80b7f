package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/pires/go-proxyproto"
)

// introduction is what a PROXY header says of a connection: who the client is, and
// which address it connected to. nil is a connection that speaks for itself.
type introduction struct{ client, local *net.TCPAddr }

// introduce reads the PROXY header, of either version, that connections from the
// listener's networks must begin with, in place of that network's address. From
// anybody else nothing is read: a header from there is no more than a malformed
// ClientHello.
//
// What came behind the header is read again by who reads next; no buffer stays
// behind. The header's size is bounded by the library, to 107 bytes and 4 KiB.
func (l *listener) introduce(ctx context.Context, c *conn) error {
	if len(l.ProxyProtocol) == 0 || !contain(l.ProxyProtocol, addrOf(c.RemoteAddr())) {
		return nil
	}
	header, behind, err := readHeader(ctx, c.Conn)
	if err != nil {
		l.server.metrics.headersRefused.WithLabelValues(l.Name).Inc()
		return fmt.Errorf("PROXY header: %w", err)
	}
	if len(behind) > 0 {
		c.Conn = &replayed{Conn: c.Conn, first: behind}
	}
	// LOCAL is the balancer itself, and what has no TCP address has none to tell.
	client, local, ok := header.TCPAddrs()
	if header.Command.IsProxy() && ok {
		c.introduced = &introduction{client, local}
	}
	return nil
}

var headerReaders = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// readHeader reads a header until ctx ends, and returns what was read too far.
func readHeader(ctx context.Context, c net.Conn) (header *proxyproto.Header, behind []byte, err error) {
	r := headerReaders.Get().(*bufio.Reader)
	r.Reset(c)
	defer func() {
		r.Reset(nil)
		headerReaders.Put(r)
	}()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(past) })
	header, err = proxyproto.Read(r)
	if !stop() {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		return nil, nil, err
	}
	behind, _ = r.Peek(r.Buffered()) // what is buffered is there
	return header, bytes.Clone(behind), nil
}
