package configs

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func (l Listener) validate(p place) {
	checkListenAddress(p.key("address"), l.Address)
	oneOf(p.key("policy"), l.Policy, PolicyIntermediate, PolicyModern)
	oneOf(p.key("request_id"), l.RequestID, On, Off)
	l.Limits.validate(p.key("limits"))
}

func (r Redirect) validate(p place) {
	checkListenAddress(p.key("address"), r.Address)
	between(p.key("to"), r.To, 1, 65535)
	if !slices.Contains([]int{301, 302, 307, 308}, r.Status) {
		p.key("status").say(strconv.Itoa(r.Status)+" is not the status of a redirect", "301 or 308 for good, 302 or 307 for now")
	}
	r.Limits.validate(p.key("limits"))
}

func (l Limits) validate(p place) {
	between(p.key("header"), l.Header, 4<<10, 1<<20)
	between(p.key("fields"), l.Fields, 10, 1000)
	between(p.key("connections"), l.Connections, 1, 1_000_000)
}

func (s Service) validate(p place) {
	if s.Memory != 0 {
		between(p.key("memory"), s.Memory, 8<<20, 1<<40)
	}
}

func (a Admin) validate(p place) {
	if a.Enabled() {
		checkListenAddress(p.key("address"), a.Address)
	}
	if a.HasSocket() && !strings.Contains(a.Socket, "/") {
		p.key("socket").say(quote(a.Socket)+" is not the path of a socket", "a path with a folder, such as /run/sallyport/admin.sock, or off")
	}
}

func (l Log) validate(p place) {
	oneOf(p.key("level"), l.Level, "debug", "info", "warn", "error")
	oneOf(p.key("format"), l.Format, "json", "text")
}

// systemdPrefix begins the address of a socket that systemd passes.
const systemdPrefix = "systemd:"

// socketSyntax is what systemd takes as a FileDescriptorName, less what needs
// quoting.
var socketSyntax = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$`)

func checkListenAddress(p place, address string) {
	if address == "" {
		required(p)
		return
	}
	if name, ok := strings.CutPrefix(address, systemdPrefix); ok {
		if !socketSyntax.MatchString(name) {
			p.say(quote(name)+" is not the name of a socket", "the FileDescriptorName= of a systemd socket unit")
		}
		return
	}
	if _, ok := listenAddress(address); !ok {
		p.say(quote(address)+" is not an address to listen on",
			`":443", "192.0.2.1:443", "[2001:db8::1]:443", or "systemd:NAME" for a socket passed by systemd`)
	}
}

// listenAddress takes apart what is not a name of systemd's. The zero netip.Addr stands
// for all addresses of both families. A host name is not taken: what it resolves to may
// change.
func listenAddress(address string) (netip.AddrPort, bool) {
	host, portText, err := net.SplitHostPort(address)
	port, ok := parsePort(portText)
	if err != nil || !ok {
		return netip.AddrPort{}, false
	}
	if host == "" {
		return netip.AddrPortFrom(netip.Addr{}, port), true
	}
	addr, err := netip.ParseAddr(host)
	return netip.AddrPortFrom(addr.Unmap(), port), err == nil
}

// overlap reports whether no two sockets can have these addresses at once.
func overlap(a, b string) bool {
	if strings.HasPrefix(a, systemdPrefix) || strings.HasPrefix(b, systemdPrefix) {
		return a == b
	}
	x, okX := listenAddress(a)
	y, okY := listenAddress(b)
	return okX && okY && x.Port() != 0 && x.Port() == y.Port() && (covers(x.Addr(), y.Addr()) || covers(y.Addr(), x.Addr()))
}

// covers reports whether a socket with the address a takes what comes to b.
func covers(a, b netip.Addr) bool {
	return a == b || a == netip.Addr{} || a.IsUnspecified() && a.Is4() == b.Is4() && b.IsValid()
}

func parsePort(text string) (uint16, bool) {
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err == nil && decimal.MatchString(text)
}
