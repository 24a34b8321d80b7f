package proxy

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// unrecognized reports whether err is the alert unrecognized_name(112), whose
// type crypto/tls keeps to itself.
func unrecognized(err error) bool {
	return err != nil && strings.Contains(err.Error(), "remote error: tls: unrecognized name")
}

// twoSites serves www (and the address) and api (and a wildcard).
func twoSites(t *testing.T, edit ...func(*Config)) *front {
	pool, _ := poolOf(t, backend(t, echo))
	return serve(t, pool, append([]func(*Config){func(c *Config) {
		c.Sites = []Site{
			siteOf(t, "www", pool, www, "127.0.0.1"),
			siteOf(t, "api", pool, "api.example.org", "*.example.net"),
		}
	}}, edit...)...)
}

func TestSite_IsChosenByName(t *testing.T) {
	f := twoSites(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct{ name, want string }{
			{www, www},
			{"WWW.Example.ORG", www},
			{"api.example.org", "api.example.org"},
			{"x.example.net", "api.example.org"},
			{"", www}, // by the address
			{"unknown.example.org", ""},
			{"example.net", ""},
			{"a.b.example.net", ""},
		} {
			conf := f.tls(c.name)
			conf.InsecureSkipVerify = true
			conf.MinVersion, conf.MaxVersion = version, version
			conn, err := tls.Dial("tcp", f.addr, conf)
			if c.name == "" {
				// tls.Dial would put the address in its place.
				var raw net.Conn
				if raw, err = net.Dial("tcp", f.addr); err == nil {
					conn = tls.Client(raw, conf)
					err = conn.Handshake()
				}
			}
			if c.want == "" {
				if !unrecognized(err) {
					t.Errorf("%s %q: got %v, want unrecognized_name", versionName(version), c.name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s %q: %v", versionName(version), c.name, err)
				continue
			}
			if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != c.want {
				t.Errorf("%s %q: certificate of %s, want %s", versionName(version), c.name, got, c.want)
			}
			conn.Close()
		}
	}
}

func TestSite_NoNameAndNoAddressIsRefused(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	raw, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	err = tls.Client(raw, &tls.Config{InsecureSkipVerify: true}).Handshake()
	if !unrecognized(err) {
		t.Errorf("got %v", err)
	}
}

func TestPolicy_DecidesTheVersions(t *testing.T) {
	for _, c := range []struct {
		policy   Policy
		min, max uint16
		ok       bool
	}{
		{Intermediate, tls.VersionTLS12, tls.VersionTLS12, true},
		{Intermediate, tls.VersionTLS13, tls.VersionTLS13, true},
		{Intermediate, tls.VersionTLS10, tls.VersionTLS11, false},
		{Modern, tls.VersionTLS12, tls.VersionTLS12, false},
		{Modern, tls.VersionTLS13, tls.VersionTLS13, true},
	} {
		f := twoSites(t, func(cfg *Config) { cfg.Listeners[0].Policy = c.policy })
		conf := f.tls(www)
		conf.MinVersion, conf.MaxVersion = c.min, c.max
		conn, err := tls.Dial("tcp", f.addr, conf)
		if (err == nil) != c.ok {
			t.Errorf("%v %x-%x: %v", c.policy, c.min, c.max, err)
		}
		if err == nil {
			if s := conn.ConnectionState(); s.Version == tls.VersionTLS13 && s.CurveID != tls.X25519MLKEM768 {
				t.Errorf("key exchange %v", s.CurveID)
			}
			conn.Close()
		}
	}
	if _, err := ParsePolicy("old"); err == nil {
		t.Error("an unknown policy was parsed")
	}
}

// rsaWithoutPSS is a CertificateSource of a key that signs by PKCS #1 v1.5 alone,
// as some tokens do.
type rsaWithoutPSS struct{ *memoryKey }

func (rsaWithoutPSS) MaxVersion(*tls.ClientHelloInfo) uint16 { return tls.VersionTLS12 }

// A client that offers TLS 1.3 as well is served in 1.2, and takes that for no
// attack; one that offers nothing else is refused.
func TestSite_WithoutPSSIsServedInTLS12(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	source := newCertificate(t, www)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{www}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	source.cert = tls.Certificate{
		Certificate: [][]byte{der}, PrivateKey: key,
		SupportedSignatureAlgorithms: []tls.SignatureScheme{tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512},
	}
	for _, c := range []struct {
		policy   Policy
		min, max uint16
		ok       bool
	}{
		{Intermediate, tls.VersionTLS12, tls.VersionTLS13, true},
		{Intermediate, tls.VersionTLS13, tls.VersionTLS13, false},
		{Modern, tls.VersionTLS12, tls.VersionTLS13, false},
	} {
		f := twoSites(t, func(cfg *Config) {
			cfg.Listeners[0].Policy = c.policy
			cfg.Sites[0].Certificates = rsaWithoutPSS{source}
		})
		sessions := tls.NewLRUClientSessionCache(1)
		for visit := range 2 {
			conf := &tls.Config{ServerName: www, InsecureSkipVerify: true, MinVersion: c.min, MaxVersion: c.max, ClientSessionCache: sessions}
			resumed, err := f.visit(conf)
			if (err == nil) != c.ok || c.ok && resumed != (visit == 1) {
				t.Errorf("%v %x-%x, visit %d: resumed %t, %v", c.policy, c.min, c.max, visit+1, resumed, err)
			}
		}
	}
}

// visit makes one request over a fresh connection and returns whether it was
// resumed; the session is kept in cache.
func (f *front) visit(conf *tls.Config) (resumed bool, err error) {
	c, err := tls.Dial("tcp", f.addr, conf)
	if err != nil {
		return false, err
	}
	defer c.Close()
	// The answer brings TLS 1.3's tickets with it.
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+conf.ServerName+"\r\nConnection: close\r\n\r\n")
	_, err = io.Copy(io.Discard, c)
	return c.ConnectionState().DidResume, err
}

// oneSession keeps the last session whatever name it was for.
type oneSession struct{ last *tls.ClientSessionState }

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) { return o.last, o.last != nil }
func (o *oneSession) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		o.last = s
	}
}

func TestTicket_ResumesAtItsSiteAndIsCounted(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f := twoSites(t)
		conf := f.tls(www)
		conf.MaxVersion = version
		conf.ClientSessionCache = &oneSession{}
		for i, want := range []bool{false, true, true} {
			if i == 2 {
				for _, k := range f.server.sites.tickets {
					k.rotate() // the previous keys still open it
					k.rotate()
				}
			}
			resumed, err := f.visit(conf)
			if err != nil || resumed != want {
				t.Fatalf("%s visit %d: resumed %v, %v", versionName(version), i, resumed, err)
			}
			if line := f.access.next(t); line["resumed"].Bool() != want || line["tls"].String() != versionName(version) {
				t.Errorf("logged %v", line)
			}
		}
		count := func(result string) float64 {
			return testutil.ToFloat64(f.server.metrics.handshakes.WithLabelValues("www", versionName(version), result))
		}
		if count("full") != 1 || count("resumed") != 2 {
			t.Errorf("full %v resumed %v", count("full"), count("resumed"))
		}
	}
}

func TestTicket_OldKeysAreForgotten(t *testing.T) {
	f := twoSites(t)
	conf := f.tls(www)
	conf.ClientSessionCache = &oneSession{}
	f.visit(conf)
	for _, k := range f.server.sites.tickets {
		for range ticketsKept + 1 {
			k.rotate()
		}
	}
	if resumed, err := f.visit(conf); resumed || err != nil {
		t.Errorf("resumed %v, %v", resumed, err)
	}
}

func TestTicket_OfOneSiteDoesNotResumeAtAnother(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f := twoSites(t)
		sessions := &oneSession{}
		at := func(name string) (bool, error) {
			conf := f.tls(name)
			conf.MaxVersion = version
			conf.ClientSessionCache = sessions
			conf.InsecureSkipVerify = true // else the client itself drops a session of another name
			return f.visit(conf)
		}
		if _, err := at(www); err != nil {
			t.Fatal(err)
		}
		wwwSession := sessions.last
		if resumed, err := at("api.example.org"); resumed || err != nil {
			t.Errorf("%s at api: resumed %v, %v", versionName(version), resumed, err)
		}
		sessions.last = wwwSession
		if _, err := at("unknown.example.org"); !unrecognized(err) {
			t.Errorf("%s at an unknown name: %v", versionName(version), err)
		}
		sessions.last = wwwSession
		if resumed, err := at(www); !resumed || err != nil {
			t.Errorf("%s back at www: resumed %v, %v (the test's session is no good)", versionName(version), resumed, err)
		}
	}
}

func TestHandshake_FailuresAreCountedUnderNoSite(t *testing.T) {
	f := twoSites(t)
	tls.Dial("tcp", f.addr, f.tls("unknown.example.org"))
	f.log.until(t, "handshake failed")
	if n := testutil.ToFloat64(f.server.metrics.handshakes.WithLabelValues("", "1.3", "failed")); n != 1 {
		t.Errorf("counted %v", n)
	}
}

func TestAuthority_MustBeTheConnectionsSite(t *testing.T) {
	f := twoSites(t)
	for _, c := range []struct {
		host string
		want int
	}{
		{www, 200},
		{www + ":443", 200},
		{www + ".", 200},
		{"WWW.EXAMPLE.ORG", 200},
		{"127.0.0.1", 200},
		{"api.example.org", 421},
		{"x.example.net", 421},
		{"unknown.example.org", 421},
		{"[::1]", 421},
		{"", 400},
		{"www.example.org:port", 400},
		{"www.example.org/x", 400},
		{"user@www.example.org", 400},
	} {
		conn := f.dial(www)
		conn.send("GET / HTTP/1.1\nHost: " + c.host + "\n\n")
		if res := conn.answer(); res.StatusCode != c.want {
			t.Errorf("host %q: %d, want %d", c.host, res.StatusCode, c.want)
		}
		conn.Close()
	}
	conn := f.dial(www)
	conn.send("GET / HTTP/1.1\nHost: " + www + "\nHost: api.example.org\n\n")
	if res := conn.answer(); res.StatusCode != 400 {
		t.Errorf("two hosts: %d", res.StatusCode)
	}
	conn = f.dial(www)
	conn.send("GET / HTTP/1.0\n\n")
	if res := conn.answer(); res.StatusCode != 400 {
		t.Errorf("no host: %d", res.StatusCode)
	}
}

func TestAuthority_HTTP2(t *testing.T) {
	f := twoSites(t)
	for host, want := range map[string]int{www: 200, "api.example.org": 421, www + ":": 200, www + ":65536": 400} {
		r, _ := http.NewRequest("GET", "https://"+www+"/", nil)
		r.Host = host
		res, err := f.client("h2").Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body := text(t, res)
		if res.StatusCode != want || res.ProtoMajor != 2 {
			t.Errorf("%s: %s %d", host, res.Proto, res.StatusCode)
		}
		if want == 421 && body != "421 Misdirected Request\n" {
			t.Errorf("body %q", body)
		}
	}
}

func TestNew_ReportsEveryProblem(t *testing.T) {
	pool, _ := poolOf(t, "127.0.0.1:1")
	_, err := New(Config{Sites: []Site{{Name: "a"}, {Name: "b", Hosts: []string{"x"}, Certificates: newCertificate(t, "x"), Routes: []Route{{Path: "x", Pool: pool}}}}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"no listeners", `site "a" has no certificates`, `site "a" has no hosts`, `does not begin with a slash`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = New(Config{Listeners: []Listener{{Listener: l}}, Sites: []Site{siteOf(t, "a", pool, www), siteOf(t, "b", pool, "WWW.example.org.")}})
	if err == nil || !strings.Contains(err.Error(), `already served by site "a"`) {
		t.Errorf("a shared host: %v", err)
	}
}
