package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// forwarder sends requests to one pool's backends.
type forwarder struct {
	Pool
	log       *slog.Logger
	stop      context.Context // ends dials when the server is done
	transport *http.Transport
	proxy     *httputil.ReverseProxy
}

func newForwarder(p Pool, stop context.Context, log *slog.Logger) *forwarder {
	f := &forwarder{Pool: p.withDefaults(), log: log, stop: stop}
	f.transport = &http.Transport{
		// Proxy stays nil: no environment variable may send requests elsewhere.
		DialContext:            f.dial,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        f.IdleTimeout,
		ResponseHeaderTimeout:  f.ResponseTimeout, // from the request's last byte
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
	f.proxy = &httputil.ReverseProxy{
		Rewrite:   rewrite,
		Transport: f, // retry.go
		// Answers of unknown length are flushed at each read anyway; one whose
		// length is known may lie in the buffer this long.
		FlushInterval:  50 * time.Millisecond,
		BufferPool:     &buffers{},
		ModifyResponse: admitResponse,
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			exchangeFrom(r.Context()).fail(err)
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return f
}

// forward answers x's request from the pool. It panics with
// http.ErrAbortHandler where the answer broke off.
func (f *forwarder) forward(x *exchange) {
	if !wantsWebSocket(x.r) {
		// Any other upgrade would open a way past us: behind h2c the client
		// talks to the backend alone.
		x.r.Header.Del("Upgrade")
		x.r.Header.Del("Http2-Settings")
	}
	f.proxy.ServeHTTP(x.w, x.r)
}

// rewrite makes the request to a backend; its host is filled in by each try.
// ReverseProxy has taken the hop-by-hop fields out.
func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeFrom(pr.In.Context())
	out := pr.Out
	out.URL = &url.URL{Scheme: "http", RawQuery: x.query, ForceQuery: x.ask && x.query == ""}
	if strings.HasPrefix(x.path, "//") {
		// As Opaque this would be taken for an authority.
		out.URL.Path, out.URL.RawPath = pr.In.URL.Path, pr.In.URL.RawPath
	} else {
		out.URL.Opaque = x.path // as it came, byte for byte
	}
	out.Host = pr.In.Host
	// The server fills this very map when the body has ended; a clone would
	// stay empty.
	out.Trailer = pr.In.Trailer
	setForwarded(out.Header, pr.In, x.listener.trusts(peerAddr(pr.In)))
}

// admitResponse looks at a backend's answer before its client sees it.
func admitResponse(res *http.Response) error {
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil
	}
	return exchangeFrom(res.Request.Context()).openTunnel(res)
}

// dial connects to a backend within the connect timeout. The transport lets a
// dial outlive its request, for the next one; it does not outlive the server.
func (f *forwarder) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.stop, cancel)()
	d := net.Dialer{Timeout: f.ConnectTimeout}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &backendConn{Conn: c, stall: f.ResponseTimeout}, nil
}

// buffers is a httputil.BufferPool.
type buffers struct{ pool sync.Pool }

const copySize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[copySize]byte); ok {
		return p[:]
	}
	return make([]byte, copySize)
}

func (b *buffers) Put(p []byte) { b.pool.Put((*[copySize]byte)(p)) }
