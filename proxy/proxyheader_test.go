package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// introduced is a backend whose connections begin with a PROXY header. Each answers
// as many requests as it gets; headers gets what the connections began with.
func introduced(t testing.TB) (address string, headers chan *proxyproto.Header) {
	headers = make(chan *proxyproto.Header, 100)
	return rawBackend(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		h, err := proxyproto.Read(r)
		if err != nil {
			t.Errorf("a connection began otherwise: %v", err)
			return
		}
		headers <- h
		for {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, q.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}), headers
}

func TestProxyHeader_TellsOfTheClient(t *testing.T) {
	for version := 1; version <= 2; version++ {
		address, headers := introduced(t)
		pool, _ := poolOf(t, address)
		pool.ProxyHeader = version
		f := serve(t, pool)
		bothProtocols(t, func(t *testing.T, protocol string) {
			c := f.client(protocol)
			for range 3 { // on one connection of the client's
				res, err := c.Get(base + "/")
				if err != nil {
					t.Fatal(err)
				}
				text(t, res)
				h := await(t, "a header of its own", headers)
				if int(h.Version) != version || !h.Command.IsProxy() || h.DestinationAddr.String() != f.addr || !strings.HasPrefix(h.SourceAddr.String(), "127.0.0.1:") {
					t.Errorf("got %+v", h)
				}
				if version == 2 {
					checkTLVs(t, h, protocol)
				}
			}
		})
	}
}

func checkTLVs(t *testing.T, h *proxyproto.Header, protocol string) {
	t.Helper()
	all, err := h.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	got := map[proxyproto.PP2Type]string{}
	for _, tlv := range all {
		got[tlv.Type] = string(tlv.Value)
	}
	want := map[string]string{"h1": "", "h2": "h2"}[protocol] // as the client offers
	if got[proxyproto.PP2_TYPE_ALPN] != want || got[proxyproto.PP2_TYPE_AUTHORITY] != www {
		t.Errorf("ALPN and authority: %q", got)
	}
	ssl, ok := tlvparse.FindSSL(all)
	version, _ := ssl.SSLVersion()
	cipher, _ := ssl.SSLCipher()
	if !ok || !ssl.ClientSSL() || ssl.Verified() || version != "TLSv1.3" || !strings.HasPrefix(cipher, "TLS_") {
		t.Errorf("SSL: %v, %+v, %s, %s", ok, ssl, version, cipher)
	}
}

// What a balancer in front has told is passed on.
func TestProxyHeader_OfAnIntroducedClient(t *testing.T) {
	address, headers := introduced(t)
	pool, _ := poolOf(t, address)
	pool.ProxyHeader = 1
	f := serve(t, pool, introducing(loopback))
	conn, err := f.dialSaying("PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n", f.tls(www))
	if err != nil {
		t.Fatal(err)
	}
	conn.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
	conn.answer()
	h := await(t, "the header", headers)
	if h.SourceAddr.String() != "[2001:db8::7]:5000" || h.DestinationAddr.String() != "[2001:db8::1]:443" {
		t.Errorf("got %v to %v", h.SourceAddr, h.DestinationAddr)
	}
}

func TestProxyHeader_IsForEachBackendThatIsTried(t *testing.T) {
	address, headers := introduced(t)
	pool, _ := poolOf(t, refused(t), address)
	pool.ProxyHeader = 2
	f := serve(t, pool)
	if res := f.fetch("h1", "/"); res.StatusCode != 200 {
		t.Error(res.StatusCode)
	}
	await(t, "the header", headers)
}

func TestNew_RefusesUnknownPROXYHeaders(t *testing.T) {
	pool, _ := poolOf(t, refused(t))
	pool.ProxyHeader = 3
	if _, err := New(Config{Sites: []Site{siteOf(t, "www", pool, www)}}); err == nil || !strings.Contains(err.Error(), "PROXY header of version 3") {
		t.Error(err)
	}
}
