package proxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TestRefused_EachIsWrittenDown has requests that HTTP/2's codec refuses by itself.
func TestRefused_EachIsWrittenDown(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool)
	h := f.dialHTTP2()
	large := strings.Repeat("x", 40<<10)
	for i, tc := range []struct {
		outcome string
		status  int64
		fields  [][2]string
	}{
		{"malformed target", 400, [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", "/a b"}}},
		{"connection-specific field", 400, [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}, {"connection", "close"}}},
		{"head too long", 431, [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}, {"x", large}, {"y", large}}},
		{"unknown expectation", 417, [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}, {"expect", "miracles"}}},
		{"field name with an underscore", 400, [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}, {"x_y", "z"}}},
		{"the target's scheme is not the connection's", 421, [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", www}, {":path", "/"}}},
		{"method not allowed", 405, [][2]string{{":method", "CONNECT"}, {":authority", www + ":443"}}},
	} {
		f.sendHead(h, uint32(2*i+1), tc.fields, false)
		line := f.access.next(t)
		if line["status"].Int64() != tc.status || line["protocol"].String() != "HTTP/2.0" || line["site"].String() != "www" {
			t.Errorf("%s: logged %v", tc.outcome, line)
		}
		if outcome := line["outcome"].String(); outcome != tc.outcome {
			t.Errorf("%s: logged %q", tc.outcome, outcome)
		}
	}
	if n := testutil.CollectAndCount(f.server.metrics.requests); n != 5 {
		t.Errorf("%d series", n)
	}
}

// TestRefused_StreamsBeyondTheBoundAreWrittenDown has a client that opens more than it may.
func TestRefused_StreamsBeyondTheBoundAreWrittenDown(t *testing.T) {
	address, _, let := held(t)
	pool, _ := poolOf(t, address)
	f := serve(t, pool)
	h := f.dialSettled()
	h.WriteSettingsAck()
	const most = 100
	for i := range uint32(most + 1) {
		f.sendHead(h, 2*i+1, [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}}, true)
	}
	line := f.access.next(t)
	if line["status"].Int64() != 429 || line["outcome"].String() != "too many streams at once" || line["protocol"].String() != "HTTP/2.0" {
		t.Errorf("logged %v", line)
	}
	for {
		fr, err := h.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if rst, ok := fr.(*http2.RSTStreamFrame); ok {
			if rst.ErrCode != http2.ErrCodeRefusedStream || rst.StreamID != 2*most+1 {
				t.Errorf("%v with %v", rst, rst.ErrCode)
			}
			break
		}
	}
	close(let)
}

// sendHead sends a field section in as many frames as it takes.
func (f *front) sendHead(h *http2.Framer, id uint32, fields [][2]string, end bool) {
	f.t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, kv := range fields {
		enc.WriteField(hpack.HeaderField{Name: kv[0], Value: kv[1]})
	}
	first := block.Next(16 << 10)
	err := h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: block.Len() == 0})
	for err == nil && block.Len() > 0 {
		p := block.Next(16 << 10)
		err = h.WriteContinuation(id, block.Len() == 0, p)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// A client that has its stream reset tries again, Go's at once and without end, and each time
// by a new connection. So whatever is wrong with its request it is told by a response.
func TestRefused_ClientsAreToldOnce(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	for name, edit := range map[string]func(*http.Request){
		"broken escape":      func(r *http.Request) { r.URL.Opaque = "//" + www + "/%zz" },
		"dot segment":        func(r *http.Request) { r.URL.Opaque = "//" + www + "/a/../b" },
		"value with a blank": func(r *http.Request) { r.Header["X"] = []string{" x"} },
		"underscore":         func(r *http.Request) { r.Header["X_y"] = []string{"x"} },
		"malformed host":     func(r *http.Request) { r.Host = "a!b" },
		"long field": func(r *http.Request) {
			r.Header["X"] = []string{strings.Repeat("x", 50<<10), strings.Repeat("x", 16<<10)}
		},
		"trailer with an underscore": func(r *http.Request) {
			r.Method, r.Body, r.ContentLength, r.Trailer = "PUT", io.NopCloser(strings.NewReader("x")), -1, http.Header{"X_y": {"z"}}
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.client("h2")
			r, _ := http.NewRequest("GET", base+"/", nil)
			edit(r)
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if text(t, res); res.StatusCode/100 != 4 {
				t.Errorf("status %d", res.StatusCode)
			}
			if logged := f.access.next(t)["status"].Int64(); logged != int64(res.StatusCode) {
				t.Errorf("%d was logged, %d received", logged, res.StatusCode)
			}
			// The connection serves the next request.
			if res, err = c.Get(base + "/?key=\"apple\"&q=ü"); err != nil {
				t.Fatal(err)
			}
			if text(t, res); res.StatusCode != 200 || res.Header.Get("X-Target") != "/?key=%22apple%22&q=%C3%BC" {
				t.Errorf("then %d %s", res.StatusCode, res.Header.Get("X-Target"))
			}
			f.access.next(t)
			if len(f.access.lines) != 0 {
				t.Errorf("asked again: %v", f.access.next(t))
			}
		})
	}
	if n := testutil.ToFloat64(f.server.metrics.handshakes.WithLabelValues("www", "1.3", "full")) + testutil.ToFloat64(f.server.metrics.handshakes.WithLabelValues("www", "1.3", "resumed")); n != 8 {
		t.Errorf("%v handshakes of 7 clients", n) // a reset behind the response has Go give up the connection
	}
}

func TestRefused_CurlAndGRPCAreToldOnce(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	_, port, _ := net.SplitHostPort(f.addr)
	for path, want := range map[string]string{`/v?key="apple"`: "200", "/%zz": "400", `/a"<b>{c}^|`: "200"} {
		out, err := exec.Command("curl", "--http2", "-gsk", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--retry", "0",
			"--resolve", www+":"+port+":127.0.0.1", "https://"+www+":"+port+path).Output()
		if string(out) != "2 "+want {
			t.Errorf("%s: %s, %v", path, out, err)
		}
		f.access.next(t)
	}
	ctx := metadata.AppendToOutgoingContext(bounded(t), "x_y", "z")
	if _, err := f.grpc().EmptyCall(ctx, &pb.Empty{}); status.Code(err) != codes.Internal {
		t.Errorf("the call ended with %v", err)
	}
	if line := f.access.next(t); line["status"].Int64() != 400 || len(f.access.lines) != 0 {
		t.Errorf("logged %v, and %d more", line, len(f.access.lines))
	}
}

// What only a client sends that breaks HTTP/2's rules is answered and then reset: that
// must not have Go's client ask again either, should a proxy between write it.
func TestRefused_AResetBehindTheResponseIsNotTriedAgain(t *testing.T) {
	for name, end := range map[string]bool{"whole request": true, "request with a body to come": false} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					wg.Go(func() {
						defer nc.Close()
						io.ReadFull(nc, make([]byte, len(http2.ClientPreface)))
						fr := http2.NewFramer(nc, nc)
						fr.WriteSettings()
						for {
							got, err := fr.ReadFrame()
							if err != nil {
								return
							}
							if h, ok := got.(*http2.HeadersFrame); ok {
								asked++
								fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: []byte{0x80 | 12}, EndHeaders: true, EndStream: true})
								fr.WriteRSTStream(h.StreamID, http2.ErrCodeProtocol)
							}
						}
					})
				}
			})
			tr := &http.Transport{Protocols: new(http.Protocols)}
			tr.Protocols.SetUnencryptedHTTP2(true)
			var body io.Reader
			if !end {
				body = strings.NewReader(strings.Repeat("x", 1<<20))
			}
			r, _ := http.NewRequest("PUT", "http://"+l.Addr().String(), body)
			res, err := tr.RoundTrip(r)
			if err != nil {
				t.Errorf("no response: %v", err)
			} else if res.Body.Close(); res.StatusCode != 400 {
				t.Errorf("status %d", res.StatusCode)
			}
			tr.CloseIdleConnections()
			l.Close()
			wg.Wait()
			if asked != 1 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}
