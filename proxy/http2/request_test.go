package http2

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// with is a plain request with fields more, and without those that are named alone.
func with(change ...string) []string {
	fields := append([]string(nil), plain...)
	for _, c := range change {
		name, value, has := strings.Cut(c, ": ")
		kept := fields[:0]
		for _, f := range fields {
			if !strings.HasPrefix(f, name+": ") || !strings.HasPrefix(name, ":") {
				kept = append(kept, f)
			}
		}
		fields = kept
		if has && strings.HasPrefix(name, ":") {
			fields = append([]string{name + ": " + value}, fields...)
		} else if has {
			fields = append(fields, c)
		}
	}
	return fields
}

// A malformed request is answered. Where HTTP/2's own rules were broken, its stream is
// reset behind that.
func TestServer_MalformedRequestsAreAnswered(t *testing.T) {
	resets := map[string]bool{
		"no method": true, "no path": true, "no scheme": true, "method twice": true, "pseudo-field behind a field": true, "unknown pseudo-field": true,
		"scheme other": true, "capital in a name": true, "blank in a name": true, "colon in a name": true, "connection": true, "keep-alive": true,
		"proxy-connection": true, "transfer-encoding": true, "upgrade": true, "te gzip": true, "te with more": true, "content-length without body": true,
		"connect with a path": true, "protocol without connect": true,
	}
	f := serve(t, Config{}, func(e message.Exchange) {
		t.Errorf("handled: %s %s", e.Request().Method, e.Request().Path)
	})
	for name, fields := range map[string][]string{
		"no method":                   with(":method"),
		"no path":                     with(":path"),
		"no scheme":                   with(":scheme"),
		"no authority":                with(":authority"),
		"method twice":                append([]string{":method: GET"}, plain...),
		"pseudo-field behind a field": append(with("x: y"), ":path: /"),
		"unknown pseudo-field":        with(":status: 200"),
		"method no token":             with(":method: G T"),
		"path relative":               with(":path: a/b"),
		"path absolute form":          with(":path: http://a/"),
		"path with a blank":           with(":path: /a HTTP/1.1"),
		"path with a line break":      with(":path: /a\r\nX: y"),
		"path with a fragment":        with(":path: /a#b"),
		"path with a broken escape":   with(":path: /%2p"),
		"star for GET":                with(":path: *"),
		"scheme other":                with(":scheme: ftp"),
		"authority with a user":       with(":authority: me@a"),
		"authority with a path":       with(":authority: a/b"),
		"authority with a blank":      with(":authority: a b"),
		"authority with a bad port":   with(":authority: a:8x"),
		"authority port alone":        with(":authority: :80"),
		"authority port too large":    with(":authority: [::1]:99999"),
		"authority with a mark":       with(":authority: a!b"),
		"authority broken IPv6":       with(":authority: [::1"),
		"host differs":                with("host: b"),
		"host twice":                  with("host: a", "host: a"),
		"host empty":                  with(":authority", "host: "),
		"capital in a name":           with("X-Y: z"),
		"blank in a name":             with("x y: z"),
		"colon in a name":             with("x:y: z"),
		"line break in a value":       with("x: a\r\nb: c"),
		"NUL in a value":              with("x: a\x00b"),
		"leading blank in a value":    with("x:  a"),
		"trailing tab in a value":     with("x: a\t"),
		"connection":                  with("connection: close"),
		"keep-alive":                  with("keep-alive: 5"),
		"proxy-connection":            with("proxy-connection: keep-alive"),
		"transfer-encoding":           with("transfer-encoding: chunked"),
		"upgrade":                     with("upgrade: websocket"),
		"te gzip":                     with("te: gzip"),
		"te with more":                with("te: trailers, gzip"),
		"content-length not a number": with("content-length: +5"),
		"content-length twice":        with("content-length: 0", "content-length: 0"),
		"content-length without body": with("content-length: 5"),
		"content-length too large":    with("content-length: 99999999999999999999"),
		"connect with a path":         with(":method: CONNECT"),
		"protocol without connect":    with(":protocol: websocket"),
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial(t)
			c.request(1, true, fields...)
			head := c.await(http2.FrameHeaders).(*http2.HeadersFrame)
			if block := string(head.HeaderBlockFragment()); block[0] != noTable || block[1] != 0x80|12 || head.StreamEnded() {
				t.Errorf("answered with %q", block)
			}
			if data := c.await(http2.FrameData).(*http2.DataFrame); string(data.Data()) != "400 Bad Request\n" || !data.StreamEnded() {
				t.Errorf("answered with %q", data.Data())
			}
			c.WritePing(false, [8]byte{})
			var reset bool
			for {
				switch fr := c.next().(type) {
				case *http2.RSTStreamFrame:
					if reset = true; fr.ErrCode != http2.ErrCodeProtocol {
						t.Errorf("reset with %v", fr.ErrCode)
					}
					continue
				case *http2.PingFrame:
				default:
					t.Errorf("%v", fr)
				}
				break
			}
			if reset != resets[name] {
				t.Errorf("reset: %v", reset)
			}
		})
	}
}

func TestServer_RefusesWithAStatus(t *testing.T) {
	f := serve(t, Config{}, hello)
	for name, tc := range map[string]struct {
		status string
		end    bool
		fields []string
	}{
		"other protocol": {"501", false, with(":method: CONNECT", ":protocol: connect-udp")},
		"underscore":     {"\x8c", true, with("x_real_ip: a")}, // 400, by HPACK's static table,
		"expectation":    {"417", false, with(":method: POST", "expect: more")},
		"too large":      {"431", true, with("a: "+strings.Repeat("x", 13_000), "b: "+strings.Repeat("x", 60_000))},
		"too many":       {"431", true, with(strings.Split(strings.Repeat("a: b,", 200)+"c: d", ",")...)},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial(t)
			block := section(tc.fields...)
			first := block[:min(len(block), maxPayload)]
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: first, EndStream: tc.end, EndHeaders: len(first) == len(block)})
			for rest := block[len(first):]; len(rest) > 0; {
				part := rest[:min(len(rest), maxPayload)]
				rest = rest[len(part):]
				c.WriteContinuation(1, len(rest) == 0, part)
			}
			head := c.await(http2.FrameHeaders).(*http2.HeadersFrame)
			if block := string(head.HeaderBlockFragment()); !strings.Contains(block, tc.status) || head.StreamEnded() {
				t.Errorf("answered with %q", block)
			}
		})
	}
}

func TestServer_BodiesThatAreNotTheirLength(t *testing.T) {
	for name, body := range map[string]string{"longer": "123456", "shorter": "1234"} {
		t.Run(name, func(t *testing.T) {
			begun, read := make(chan bool), make(chan error, 1)
			f := serve(t, Config{}, func(e message.Exchange) {
				begun <- true
				var err error
				for buf := make([]byte, 10); err == nil; {
					_, err = e.Body().Read(buf)
				}
				read <- err
			})
			c := f.dial(t)
			c.request(1, false, with(":method: POST", "content-length: 5")...)
			<-begun
			c.WriteData(1, true, []byte(body))
			if data := c.await(http2.FrameData).(*http2.DataFrame); string(data.Data()) != "400 Bad Request\n" || !data.StreamEnded() {
				t.Errorf("answered with %q", data.Data())
			}
			if rst := c.await(http2.FrameRSTStream).(*http2.RSTStreamFrame); rst.ErrCode != http2.ErrCodeProtocol {
				t.Errorf("reset with %v", rst.ErrCode)
			}
			if err := <-read; err == nil || err.Error() == "EOF" {
				t.Errorf("read to the end: %v", err)
			}
		})
	}
}

func TestServer_TakesWhatIsWellFormed(t *testing.T) {
	heads := make(chan string, 1)
	f := serve(t, Config{}, func(e message.Exchange) {
		r := e.Request()
		heads <- fmt.Sprintf("%s %s %s", r.Method, r.Authority, r.Path)
		hello(e)
	})
	for want, fields := range map[string][]string{
		"GET a /":                plain,
		"GET a:80 /?q=%20&x='":   with(":authority: a:80", ":path: /?q=%20&x='"),
		"GET a /?a[]=1|2&b=100%": with(":path: /?a[]=1|2&b=100%"),
		"OPTIONS a *":            with(":method: OPTIONS", ":path: *"),
		"GET [::1]:8080 /":       with(":authority: [::1]:8080"),
		"GET b /":                with(":authority", "host: b"),
		"GET A /":                with(":authority: A", "host: a"),
		"GET a /%FF":             with(":path: /\xff", ":authority: a:", "host: a"),
		"GET a /a%5Cb?\\":        with(":path: /a\\b?\\"),
		"GET a /?%22%C3%BC":      with(":path: /?\"ü"),
	} {
		c := f.dial(t)
		c.request(1, true, fields...)
		if got := <-heads; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestServer_TrailersMustBeTrailers(t *testing.T) {
	f := serve(t, Config{}, echo)
	for name, tc := range map[string]struct {
		end    bool
		fields []string
	}{
		"not the end":       {false, []string{"x: y"}},
		"pseudo-field":      {true, []string{":path: /"}},
		"content-length":    {true, []string{"content-length: 0"}},
		"transfer-encoding": {true, []string{"transfer-encoding: chunked"}},
		"line break":        {true, []string{"x: y\nz"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial(t)
			c.request(1, false, with(":method: POST")...)
			c.request(1, tc.end, tc.fields...)
			if rst := c.await(http2.FrameRSTStream).(*http2.RSTStreamFrame); rst.ErrCode != http2.ErrCodeProtocol {
				t.Errorf("reset with %v", rst.ErrCode)
			}
		})
	}
}
