package proxy

import (
	"bytes"
	"net/netip"
	"strings"

	"sallyport/proxy/message"
)

// isClaim says whether a field tells where a request came from or what its ID is:
// those that are written anew here, and their kin, also spelt with underscores,
// which some backends take for dashes.
func isClaim(f message.Field) bool {
	switch f.ID {
	case message.Forwarded, message.XForwardedFor, message.XForwardedHost, message.XForwardedProto, message.XRequestID:
		return true
	case message.Other:
		if !mayClaim(f.Name) {
			return false
		}
	default:
		return false
	}
	return claimed(f.Name, "x-forwarded-") ||
		len(f.Name) == len("x-real-ip") && claimed(f.Name, "x-real-ip") ||
		len(f.Name) == len("x-request-id") && claimed(f.Name, "x-request-id")
}

// mayClaim reports whether a name without a number of its own can be one that isClaim looks for.
func mayClaim(name []byte) bool { return len(name) > 0 && name[0]|0x20 == 'x' }

// claimed says whether name begins with the prefix, in any case and with
// underscores for dashes.
func claimed(name []byte, prefix string) bool {
	if len(name) < len(prefix) {
		return false
	}
	for i, c := range name[:len(prefix)] {
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case c == '_':
			c = '-'
		}
		if c != prefix[i] {
			return false
		}
	}
	return true
}

// appendForwarded writes X-Forwarded-For, -Proto and -Host and Forwarded
// (RFC 7239) behind out's fields. From a trusted peer the lists that came are
// extended, and its word on scheme and host stands, as far as they are what they should
// be (nodes.go); what anybody else claims has been dropped.
func (x *exchange) appendForwarded() {
	p := &x.conn.peer
	if !p.trusted { // as most are
		x.addField(xForwardedFor, p.text)
		x.addField(forwarded, x.forwardedElement())
		x.addField(xForwardedProto, https)
		x.addField(xForwardedHost, x.in.Authority)
		return
	}
	x.addField(xForwardedFor, x.extended(message.XForwardedFor, p.text, lastNodes))
	x.addField(forwarded, x.extended(message.Forwarded, x.forwardedElement(), forwardedList))
	if !x.keepClaim(message.XForwardedProto, isToken) {
		x.addField(xForwardedProto, https)
	}
	if !x.keepClaim(message.XForwardedHost, isAuthority) {
		x.addField(xForwardedHost, x.in.Authority)
	}
}

var (
	https      = []byte("https")
	protoHTTPS = []byte(";proto=https")
	quote      = []byte{'"'}
	comma      = []byte(", ")
)

// forwardedElement is this hop's element of Forwarded; an authority that is no
// token, since it has a port or is an IPv6 address, is quoted.
func (x *exchange) forwardedElement() []byte {
	p := &x.conn.peer
	if bytes.IndexByte(x.in.Authority, ':') < 0 {
		return x.store(p.node, x.in.Authority, protoHTTPS)
	}
	return x.store(p.node, quote, x.in.Authority, quote, protoHTTPS)
}

// extended is own behind what the peer has listed, which is trusted. good returns the end of a list from
// where on it is one: what stands before may have been written by anybody.
func (x *exchange) extended(id message.FieldID, own []byte, good func([]byte) []byte) []byte {
	start := len(x.arena)
	for _, f := range x.in.Fields {
		if f.ID != id {
			continue
		}
		list := good(f.Value)
		if len(list) < len(f.Value) {
			x.arena = x.arena[:start]
		}
		if len(list) > 0 {
			x.arena = append(append(x.arena, list...), comma...)
		}
	}
	x.arena = append(x.arena, own...)
	return x.arena[start:len(x.arena):len(x.arena)]
}

// keepClaim passes a trusted peer's fields on as they came, and says whether
// there were any. Where a member of one is not good, none is passed on.
func (x *exchange) keepClaim(id message.FieldID, good func([]byte) bool) (any bool) {
	before := len(x.fields)
	for _, f := range x.in.Fields {
		if f.ID != id {
			continue
		}
		if !eachMember(f.Value, good) {
			x.fields = x.fields[:before]
			return false
		}
		x.fields = append(x.fields, f)
		any = true
	}
	return any
}

// clientAddr is who a request is from, for the log: the peer, or, as long as
// that is a trusted proxy, whoever it says it got the request from.
func (x *exchange) clientAddr() netip.Addr {
	client := x.conn.peer.addr
	if !x.conn.peer.trusted {
		return client
	}
	var list []string
	for _, f := range x.in.Fields {
		if f.ID == message.XForwardedFor {
			list = append(list, strings.Split(string(f.Value), ",")...)
		}
	}
	for i := len(list) - 1; i >= 0 && x.listener.trusts(client); i-- {
		before, ok := nodeAddr(strings.TrimSpace(list[i]))
		if !ok {
			break
		}
		client = before
	}
	return client
}

// nodeAddr is the address of a node as X-Forwarded-For has it, some with a port.
func nodeAddr(node string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(node)
	if err != nil {
		both, err := netip.ParseAddrPort(node)
		if err != nil {
			return addr, false
		}
		addr = both.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

// forwardedNode is an address as Forwarded has it: IPv6 in brackets and quotes
// (RFC 7239 §6).
func forwardedNode(addr netip.Addr) string {
	switch {
	case !addr.IsValid():
		return "unknown"
	case addr.Is6():
		return `"[` + addr.String() + `]"`
	}
	return addr.String()
}
