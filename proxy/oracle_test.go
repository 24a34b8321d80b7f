package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The oracle is what this package was before it had codecs of its own: net/http's
// server with httputil.ReverseProxy. Random exchanges, all of them valid, go
// through both, to one backend that follows a script; what that has seen and what the
// client has got must be the same. ORACLE=N makes N of them, ORACLE_SEED=S makes others.
//
// What differs by intent, and is not compared:
//
//   - The reason phrase: ours is the backend's, net/http writes its own.
//   - X-Request-ID, which ours makes.
//   - Date, where the backend sent none, and Content-Type: net/http makes both up.
//   - Connection: TE, which a TE needs (RFC 9110 §10.1.4): ReverseProxy leaves it out.
//   - How a request's body is framed, where it came by HTTP/2 or in chunks and is empty:
//     net/http waits to see whether it is.
//   - Trailers of a request whose body is empty, which ReverseProxy drops.
//   - Expect over HTTP/2, which net/http's server answers by itself.
//   - Content-Type and Content-Length of a 304, of which net/http drops the one, and over
//     HTTP/2 sends the other, at which its own client fails.
//   - The length of an empty body of which the backend does not say so: net/http does.
const (
	oracleTrials = 600 // some of each kind, within what CI has time for
	oracleSeed   = 1
)

// newOracle is a front of net/http and ReverseProxy, as the product had them.
func newOracle(t testing.TB, address string) *front {
	key := newCertificate(t, www)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 256, ExpectContinueTimeout: time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
	quiet := log.New(io.Discard, "", 0)
	reverse := &httputil.ReverseProxy{
		Rewrite:       func(pr *httputil.ProxyRequest) { oracleRewrite(pr, address) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      quiet,
	}
	server := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{key.cert}},
		ErrorLog:  quiet,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			r.Header.Del("Upgrade") // but for WebSocket, as ever
			reverse.ServeHTTP(w, r)
		}),
	}
	done := make(chan struct{})
	go func() { defer close(done); server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
		<-done
	})
	f := &front{t: t, addr: l.Addr().String(), roots: x509.NewCertPool()}
	f.roots.AddCert(key.cert.Leaf)
	return f
}

func oracleRewrite(pr *httputil.ProxyRequest, address string) {
	out := pr.Out
	path, query, _ := strings.Cut(pr.In.RequestURI, "?")
	out.URL = &url.URL{Scheme: "http", Host: address, RawQuery: query, ForceQuery: strings.HasSuffix(pr.In.RequestURI, "?")}
	if strings.HasPrefix(path, "//") {
		out.URL.Path, out.URL.RawPath = pr.In.URL.Path, pr.In.URL.RawPath
	} else {
		out.URL.Opaque = path
	}
	out.Host = pr.In.Host
	out.Trailer = pr.In.Trailer
	for name := range out.Header {
		if plain := strings.ToLower(name); strings.HasPrefix(plain, "x-forwarded-") || plain == "forwarded" || plain == "x-real-ip" {
			delete(out.Header, name)
		}
	}
	if n, err := strconv.Atoi(out.Header.Get("Max-Forwards")); err == nil && out.Method == "OPTIONS" {
		out.Header.Set("Max-Forwards", strconv.Itoa(n-1)) // which ReverseProxy leaves alone
	}
	host := pr.In.Host
	out.Header.Set("X-Forwarded-Host", host)
	if strings.Contains(host, ":") {
		host = `"` + host + `"`
	}
	out.Header.Set("X-Forwarded-For", "127.0.0.1")
	out.Header.Set("X-Forwarded-Proto", "https")
	out.Header.Set("Forwarded", "for=127.0.0.1;host="+host+";proto=https")
}

// got is what a client makes of an answer.
type got struct {
	Status  int
	Interim []string
	Header  http.Header
	Body    string
	Trailer http.Header
	Length  int64
	Failed  bool
}

// ask makes the trial's request, and reads its answer to the end.
func (tr *trial) ask(t *testing.T, client *http.Client, front string) (g got) {
	var body io.Reader
	switch {
	case tr.body == nil:
	case tr.known:
		body = bytes.NewReader(tr.body)
	default:
		body = io.NopCloser(bytes.NewReader(tr.body))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code != 100 {
				g.Interim = append(g.Interim, strconv.Itoa(code)+" "+h.Get("Link"))
			}
			return nil
		},
	})
	r, err := http.NewRequestWithContext(ctx, tr.method, base+tr.target, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = tr.host
	r.Header = tr.header.Clone()
	r.Header.Set("X-Trial", tr.id+front)
	r.Trailer = tr.trailer.Clone()
	r.Close = tr.close
	res, err := client.Do(r)
	if err != nil {
		t.Logf("trial %s%s: %v", tr.id, front, err)
		g.Failed = true
		return g
	}
	defer res.Body.Close()
	p, err := io.ReadAll(res.Body)
	g.Status, g.Header, g.Body, g.Trailer, g.Length = res.StatusCode, res.Header, string(p), res.Trailer, res.ContentLength
	g.Failed = err != nil
	tr.forgive(&g)
	return g
}

// forgive takes out of an answer what differs by intent.
func (tr *trial) forgive(g *got) {
	g.Header.Del("X-Request-Id")
	g.Header.Del("Via")
	if g.Status == 304 {
		g.Failed = false
	}
	if !tr.answer.dates {
		g.Header.Del("Date")
	}
	if !tr.answer.typed || g.Status == 304 {
		g.Header.Del("Content-Type")
	}
	if g.Body == "" && (tr.answer.framing != byLength || g.Status == 304 || g.Status == 204) {
		g.Header.Del("Content-Length")
		g.Length = 0
	}
}

func TestOracle_SameAsReverseProxy(t *testing.T) {
	trials, seed := oracleTrials, uint64(oracleSeed)
	if n, err := strconv.Atoi(os.Getenv("ORACLE")); err == nil {
		trials = n
	}
	if n, err := strconv.ParseUint(os.Getenv("ORACLE_SEED"), 10, 64); err == nil {
		seed = n
	}
	backend := newScripted(t)
	pool := &Pool{Name: "web", Balancer: only(backend.address)}
	ours := serve(t, pool, func(c *Config) { c.AccessLog = nil })
	theirs := newOracle(t, backend.address)
	for i, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			dice := rand.New(rand.NewPCG(seed, uint64(i)))
			clients := map[string]*http.Client{"ours": patient(ours.client(protocol)), "theirs": patient(theirs.client(protocol))}
			for n := range trials / 2 {
				tr := newTrial(dice, protocol, protocol+"-"+strconv.Itoa(n)+"-")
				saw, answers := map[string]seenRequest{}, map[string]got{}
				for front, client := range clients {
					heard := backend.expect(tr, front)
					answers[front] = tr.ask(t, client, front)
					saw[front] = await(t, "the backend's view of "+tr.id+front, heard)
				}
				if diff := cmp.Diff(saw["theirs"], saw["ours"]); diff != "" {
					t.Errorf("seed %d, %s: the backend saw (- of ReverseProxy, + of ours)\n%s\n%s", seed, tr.id, diff, tr)
				}
				if diff := cmp.Diff(answers["theirs"], answers["ours"]); diff != "" {
					t.Errorf("seed %d, %s: the client got (- of ReverseProxy, + of ours)\n%s\n%s", seed, tr.id, diff, tr)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

// patient is a client that waits for 100 (Continue).
func patient(c *http.Client) *http.Client {
	c.Transport.(*http.Transport).ExpectContinueTimeout = patience
	return c
}
