package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// introducing makes a listener that believes PROXY headers from networks.
func introducing(networks ...netip.Prefix) func(*Config) {
	return func(c *Config) { c.Listeners[0].ProxyProtocol = networks }
}

// v2 is a header of version 2.
func v2(t testing.TB, command proxyproto.ProtocolVersionAndCommand, source, destination net.Addr, tlvs ...proxyproto.TLV) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(2, source, destination)
	h.Command = command
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// said is a connection that says something before the client speaks through it. It
// leaves together with the client's first words.
type said struct {
	net.Conn
	first string
}

func (s *said) Write(b []byte) (int, error) {
	if s.first != "" {
		all := append([]byte(s.first), b...)
		s.first = ""
		if _, err := s.Conn.Write(all); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return s.Conn.Write(b)
}

// dialSaying is dial behind a header.
func (f *front) dialSaying(header string, conf *tls.Config) (*raw, error) {
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	t := tls.Client(&said{c, header}, conf)
	return &raw{f.t, t, bufio.NewReader(t)}, t.Handshake()
}

func tcp(address string) *net.TCPAddr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))
}

func TestProxyProtocol_TellsTheClientsAddress(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool, introducing(loopback))
	for name, c := range map[string]struct{ header, want string }{
		"v1 IPv4":    {"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n", "192.0.2.7"},
		"v1 IPv6":    {"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n", "2001:db8::7"},
		"v1 UNKNOWN": {"PROXY UNKNOWN\r\n", "127.0.0.1"},
		"v1 longest": {"PROXY UNKNOWN " + strings.Repeat("f", 107-len("PROXY UNKNOWN \r\n")) + "\r\n", "127.0.0.1"},
		"v2 IPv4":    {v2(t, proxyproto.PROXY, tcp("192.0.2.7:5000"), tcp("198.51.100.1:443")), "192.0.2.7"},
		"v2 IPv6":    {v2(t, proxyproto.PROXY, tcp("[2001:db8::7]:5000"), tcp("[2001:db8::1]:443")), "2001:db8::7"},
		"v2 mapped":  {v2(t, proxyproto.PROXY, tcp("192.0.2.7:5000"), tcp("[2001:db8::1]:443")), "192.0.2.7"},
		"v2 TLVs":    {v2(t, proxyproto.PROXY, tcp("192.0.2.7:5000"), tcp("198.51.100.1:443"), proxyproto.TLV{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, 3000)}), "192.0.2.7"},
		"v2 LOCAL":   {v2(t, proxyproto.LOCAL, tcp("192.0.2.7:5000"), tcp("198.51.100.1:443")), "127.0.0.1"},
		"v2 unspec":  {v2(t, proxyproto.LOCAL, &net.IPAddr{}, &net.IPAddr{}), "127.0.0.1"},
		"v2 unix":    {v2(t, proxyproto.PROXY, &net.UnixAddr{Net: "unix", Name: "/a"}, &net.UnixAddr{Net: "unix", Name: "/b"}), "127.0.0.1"},
	} {
		for _, protocol := range []string{"http/1.1", "h2"} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				conf := f.tls(www)
				conf.NextProtos = []string{protocol}
				conn, err := f.dialSaying(c.header, conf)
				if err != nil {
					t.Fatal(err)
				}
				if protocol == "h2" {
					tr := &http.Transport{
						DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn.Conn, nil },
						Protocols:      new(http.Protocols),
					}
					tr.Protocols.SetHTTP2(true)
					res, err := (&http.Client{Transport: tr}).Get(base + "/")
					if err != nil {
						t.Fatal(err)
					}
					text(t, res)
				} else {
					conn.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
					conn.answer()
				}
				if got := last().Header.Get("X-Forwarded-For"); got != c.want {
					t.Errorf("X-Forwarded-For: %s, want %s", got, c.want)
				}
				if got := f.access.next(t)["client"].String(); got != c.want {
					t.Errorf("logged %s, want %s", got, c.want)
				}
			})
		}
	}
	if n := testutil.ToFloat64(f.server.metrics.headersRefused.WithLabelValues(f.addr)); n != 0 {
		t.Errorf("%v headers were refused", n)
	}
}

// Trust is in the client that the header names, not in the balancer.
func TestProxyProtocol_TrustIsInTheClient(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool, introducing(loopback), func(c *Config) { c.Listeners[0].TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")} })
	for client, want := range map[string]string{"192.0.2.7": "203.0.113.9, 192.0.2.7", "192.0.2.8": "192.0.2.8"} {
		conn, err := f.dialSaying("PROXY TCP4 "+client+" 198.51.100.1 5000 443\r\n", f.tls(www))
		if err != nil {
			t.Fatal(err)
		}
		conn.send("GET / HTTP/1.1\nHost: " + www + "\nX-Forwarded-For: 203.0.113.9\n\n")
		conn.answer()
		if got := last().Header.Get("X-Forwarded-For"); got != want {
			t.Errorf("%s: got %s, want %s", client, got, want)
		}
	}
}

// A client that sends no name gets the site of the address that it connected to.
func TestProxyProtocol_TellsTheAddressConnectedTo(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, introducing(loopback), func(c *Config) { c.Sites = []Site{siteOf(t, "www", pool, "198.51.100.1")} })
	conf := &tls.Config{InsecureSkipVerify: true}
	if _, err := f.dialSaying("PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n", conf); err != nil {
		t.Error(err)
	}
	if _, err := f.dialSaying("PROXY TCP4 192.0.2.7 198.51.100.2 5000 443\r\n", conf); !unrecognized(err) {
		t.Errorf("another address: %v", err)
	}
}

func TestProxyProtocol_IsBelievedFromItsNetworksAlone(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	header := "PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n"
	for _, networks := range [][]netip.Prefix{nil, {netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.2/32")}} {
		f := serve(t, pool, introducing(networks...))
		for _, h := range []string{header, v2(t, proxyproto.PROXY, tcp("192.0.2.7:5000"), tcp("198.51.100.1:443"))} {
			if _, err := f.dialSaying(h, f.tls(www)); err == nil {
				t.Errorf("%v: a stranger's header was read", networks)
			}
		}
		conn := f.dial(www)
		conn.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
		conn.answer()
		if got := last().Header.Get("X-Forwarded-For"); got != "127.0.0.1" {
			t.Errorf("%v: X-Forwarded-For: %s", networks, got)
		}
	}
}

func TestProxyProtocol_WhatIsNoHeaderIsRefused(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, introducing(loopback))
	oversized := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff"), make([]byte, 1<<16)...)
	refusedHeaders := 0
	for name, first := range map[string]string{
		"a ClientHello":    "",
		"endless v1":       "PROXY TCP4 " + strings.Repeat("1", 1<<16),
		"v1 gone wrong":    "PROXY TCP4 192.0.2.7 198.51.100.1 5000 99999\r\n",
		"v1 without CR":    "PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\n",
		"v1 with a name":   "PROXY TCP4 example.org 198.51.100.1 5000 443\r\n",
		"v1 of UDP":        "PROXY UDP4 192.0.2.7 198.51.100.1 5000 443\r\n",
		"oversized v2":     string(oversized),
		"v2 of version 3":  "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c" + strings.Repeat("\x01", 12),
		"v2 cut short":     "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x04" + strings.Repeat("\x01", 4),
		"v2 of no family":  "\r\n\r\n\x00\r\nQUIT\n\x21\x55\x00\x0c" + strings.Repeat("\x01", 12),
		"something else":   "GET / HTTP/1.1\r\n\r\n",
		"a cut off header": "PROXY TCP4 192.0.2.7",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := f.dialSaying(first, f.tls(www)); err == nil {
				t.Fatal("it was let in")
			}
			if line := f.log.until(t, "connection refused"); !strings.Contains(line["error"].String(), "PROXY header") {
				t.Errorf("logged %v", line)
			}
		})
		refusedHeaders++
	}
	if n := testutil.ToFloat64(f.server.metrics.headersRefused.WithLabelValues(f.addr)); int(n) != refusedHeaders {
		t.Errorf("%v counted, want %d", n, refusedHeaders)
	}
}

// Neither a header that never comes nor one that comes by drops holds a place for
// longer than a handshake may.
func TestProxyProtocol_SlowHeaderIsCut(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, introducing(loopback), timeouts(func(to *Timeouts) { to.Header = 300 * time.Millisecond }))
	for _, first := range []string{"", "P", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c1234"} {
		c, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, first)
		c.SetReadDeadline(time.Now().Add(patience))
		if n, err := io.Copy(io.Discard, c); n != 0 || isTimeout(err) {
			t.Errorf("%q: %d bytes, %v", first, n, err)
		}
		if line := f.log.until(t, "connection refused"); !strings.Contains(line["error"].String(), "deadline exceeded") {
			t.Errorf("logged %v", line)
		}
	}
}

func TestProxyProtocol_NoDrainWaitsForAHeader(t *testing.T) {
	pool, _ := poolOf(t, refused(t))
	f := serve(t, pool, introducing(loopback), timeouts(func(to *Timeouts) { to.Handshake = time.Hour }))
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "PROX")
	for f.server.handshakes.count() == 0 {
		runtime.Gosched()
	}
	f.stop()
	f.wait()
}

// wordy is a socket that has all that its peer sends, and then its end.
type wordy struct {
	net.Conn
	r *bytes.Reader
}

func (s *wordy) Read(b []byte) (int, error) { return s.r.Read(b) }

// Whatever is sent, no byte behind a header is lost or read twice, and no header is
// larger than its bound.
func FuzzReadHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\nbehind"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(f, proxyproto.PROXY, tcp("192.0.2.7:5000"), tcp("198.51.100.1:443")) + "behind"))
	f.Add([]byte(v2(f, proxyproto.LOCAL, tcp("[2001:db8::7]:5000"), tcp("[2001:db8::1]:443")) + strings.Repeat("x", 5000)))
	f.Add([]byte("\x16\x03\x01\x00\x05hello"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		s := &wordy{r: bytes.NewReader(sent)}
		header, behind, err := readHeader(context.Background(), s)
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(s)
		rest = append(behind, rest...)
		size := len(sent) - len(rest)
		if !bytes.HasSuffix(sent, rest) || size < len("PROXY \r\n") || size > 16+4096 || header.Version == 1 && size > 107 {
			t.Errorf("%q: %d bytes of header, %q behind it", sent, size, rest)
		}
	})
}

// The handshake is made again behind a header too, and what was read with it is
// not lost then.
func TestProxyProtocol_HandshakeIsMadeAgain(t *testing.T) {
	f, key := flakySite(t, introducing(loopback))
	key.fails.Store(1)
	conn, err := f.dialSaying("PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n", f.tls(www))
	if err != nil {
		t.Fatal(err)
	}
	conn.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
	if res := conn.answer(); res.StatusCode != 200 {
		t.Error(res.StatusCode)
	}
	if key.fails.Load() >= 0 {
		t.Error("no signature failed: this shows nothing")
	}
	if got := f.access.next(t)["client"].String(); got != "192.0.2.7" {
		t.Errorf("logged %s", got)
	}
}

// Nothing that was read ahead stays with the connection.
func TestReplayed_ForgetsWhatWasReadAgain(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	c := &conn{listener: new(listener)}
	first := bytes.Repeat([]byte("x"), 1<<10)
	freed := make(chan struct{})
	runtime.AddCleanup(&first[0], func(ch chan struct{}) { close(ch) }, freed)
	c.Conn = &replayed{Conn: &replayed{Conn: here, first: first}}
	first = nil
	if _, err := io.ReadFull(c, make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	c.shaken(nil, tls.ConnectionState{})
	if c.Conn != here {
		t.Errorf("the connection reads through %T", c.Conn)
	}
	runtime.GC()
	await(t, "the end of what was read", freed)
}
