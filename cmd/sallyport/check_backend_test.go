package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sallyport/configs"
)

// TestTryBackend_SaysWhatItSpeaks has backends that a pool with protocol: h2c may find.
func TestTryBackend_SaysWhatItSpeaks(t *testing.T) {
	http1 := httptest.NewServer(http.NotFoundHandler())
	defer http1.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	both := httptest.NewUnstartedServer(http.NotFoundHandler())
	both.Config.Protocols = new(http.Protocols)
	both.Config.Protocols.SetHTTP1(true)
	both.Config.Protocols.SetUnencryptedHTTP2(true)
	both.Start()
	defer both.Close()
	for name, tc := range map[string]struct {
		address, protocol string
		want, hint        string
	}{
		"HTTP/2":                  {address: both.Listener.Addr().String()},
		"HTTP/1.1":                {address: http1.Listener.Addr().String(), want: "answers HTTP/2 with HTTP/1.1", hint: "leave that out"},
		"HTTP/1.1 and wanted":     {address: http1.Listener.Addr().String(), protocol: configs.ProtocolHTTP1},
		"HTTP/1.1 and another":    {address: speaking(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), want: "400 Bad Request", hint: "leave that out"},
		"TLS":                     {address: secure.Listener.Addr().String(), want: "HTTP/2", hint: "without TLS"},
		"a TLS alert":             {address: speaking(t, "\x15\x03\x01\x00\x02\x02\x46"), want: "answers HTTP/2 with TLS", hint: "without TLS"},
		"something else":          {address: speaking(t, "220 mail.example.org ESMTP\r\n"), want: "does not speak HTTP/2", hint: "h2c"},
		"nothing":                 {address: speaking(t, ""), want: "does not speak HTTP/2", hint: "h2c"},
		"HTTP/2 without requests": {address: settings(t, http2.Setting{ID: http2.SettingMaxConcurrentStreams}), want: "takes no requests"},
		"nobody":                  {address: closedAddress(t), want: "cannot be reached now"},
	} {
		t.Run(name, func(t *testing.T) {
			p := configs.Pool{Protocol: configs.ProtocolH2C}
			if tc.protocol != "" {
				p.Protocol = tc.protocol
			}
			p.Timeouts.Connect = configs.Duration(500 * time.Millisecond)
			err := tryBackend(context.Background(), p, tc.address)
			switch {
			case tc.want == "" && err == nil:
			case tc.want == "" || err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(hintOf(err), tc.hint):
				t.Errorf("%v, hint %q", err, hintOf(err))
			}
		})
	}
}

// speaking is a backend that says something and listens then.
func speaking(t *testing.T, words string) string {
	return accepting(t, func(c net.Conn) { io.WriteString(c, words) })
}

// settings is a backend that has these.
func settings(t *testing.T, s ...http2.Setting) string {
	return accepting(t, func(c net.Conn) { http2.NewFramer(c, nil).WriteSettings(s...) })
}

func accepting(t *testing.T, serve func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
				io.Copy(io.Discard, bufio.NewReader(c))
			}()
		}
	}()
	return l.Addr().String()
}
