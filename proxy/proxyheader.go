package proxy

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// writeProxyHeader begins a connection to a backend by telling it of the client's,
// within the limit.
func writeProxyHeader(to net.Conn, version int, c *conn, limit time.Duration) error {
	h := proxyproto.HeaderProxyFromAddrs(byte(version), c.RemoteAddr(), c.LocalAddr())
	if version == 2 {
		if err := tellTLS(h, c.tls.ConnectionState()); err != nil {
			return err
		}
	}
	if err := to.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := h.WriteTo(to); err != nil {
		return err
	}
	return to.SetWriteDeadline(time.Time{})
}

// tellTLS adds what the specification has for a connection that was TLS.
func tellTLS(h *proxyproto.Header, state tls.ConnectionState) error {
	var all []proxyproto.TLV
	if state.NegotiatedProtocol != "" {
		all = append(all, tlv(proxyproto.PP2_TYPE_ALPN, state.NegotiatedProtocol))
	}
	if state.ServerName != "" {
		all = append(all, tlv(proxyproto.PP2_TYPE_AUTHORITY, state.ServerName))
	}
	ssl, err := tlvparse.PP2SSL{
		Client: tlvparse.PP2_BITFIELD_CLIENT_SSL,
		Verify: 1, // the client has shown no certificate
		TLV: []proxyproto.TLV{
			tlv(proxyproto.PP2_SUBTYPE_SSL_VERSION, "TLSv"+versionName(state.Version)),
			tlv(proxyproto.PP2_SUBTYPE_SSL_CIPHER, tls.CipherSuiteName(state.CipherSuite)),
		},
	}.Marshal()
	if err != nil {
		return err
	}
	return h.SetTLVs(append(all, ssl))
}

func tlv(kind proxyproto.PP2Type, value string) proxyproto.TLV {
	return proxyproto.TLV{Type: kind, Value: []byte(value)}
}
