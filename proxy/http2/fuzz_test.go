package http2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// script is a connection whose peer says what it has to say and then closes.
type script struct {
	net.Conn // what is not used
	in       io.Reader

	mu     sync.Mutex
	out    bytes.Buffer
	closed bool
}

func (s *script) Read(p []byte) (int, error) { return s.in.Read(p) }

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	return s.out.Write(p)
}

func (s *script) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *script) SetReadDeadline(time.Time) error { return nil }

// hangUp is the end of a script: it comes when nothing moves any more.
type hangUp struct{ quiet func() bool }

func (h *hangUp) Read([]byte) (int, error) {
	for i := 0; i < 1000 && !h.quiet(); i++ {
		time.Sleep(20 * time.Microsecond)
	}
	return 0, io.EOF
}

// quiet says whether all workers wait, for a stream or for the client.
func (c *ServerConn) quiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := len(c.workers.idle)
	for _, s := range c.streams {
		if s.reading && s.in.n == 0 && !s.remoteEnded || s.sending {
			waiting++
		}
	}
	return waiting == c.workers.n && len(c.workers.queue) == 0 && !c.out.busy
}

// seeds are what valid and invalid peers say, after the settings.
func seeds(f *testing.F, head []byte) {
	var buf bytes.Buffer
	say := func(do func(*http2.Framer)) {
		buf.Reset()
		do(http2.NewFramer(&buf, nil))
		f.Add(bytes.Clone(buf.Bytes()))
	}
	say(func(fr *http2.Framer) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head, EndHeaders: true, EndStream: true})
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: head, EndHeaders: true})
		fr.WriteDataPadded(3, false, []byte("body"), make([]byte, 3))
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: section("x: y"), EndHeaders: true, EndStream: true})
	})
	say(func(fr *http2.Framer) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head[:2]})
		fr.WriteContinuation(1, true, head[2:])
		fr.WriteData(1, true, make([]byte, 3000))
		fr.WriteRSTStream(1, http2.ErrCodeCancel)
	})
	say(func(fr *http2.Framer) {
		fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head, EndHeaders: true, EndStream: true})
		fr.WriteWindowUpdate(1, 1)
		fr.WritePing(false, [8]byte{1})
		fr.WritePriority(5, http2.PriorityParam{StreamDep: 3})
		fr.WriteGoAway(1, http2.ErrCodeNo, []byte("bye"))
	})
}

// FuzzServer gives the server any bytes after a proper beginning. It must come
// to an end, with every goroutine, and answer no more than some times what it was
// sent.
func FuzzServer(f *testing.F) {
	seeds(f, section(plain...))
	f.Fuzz(func(t *testing.T, sent []byte) {
		end := new(hangUp)
		s := &script{in: io.MultiReader(
			strings.NewReader(http2.ClientPreface+string(appendSettings(nil))+string(appendSettingsAck(nil))), bytes.NewReader(sent), end,
		)}
		c := NewServerConn(s, Config{MaxStreams: 8, MaxHeaderBytes: 8 << 10}, func(e message.Exchange) {
			checkRequest(t, e.Request())
			echo(e)
		})
		end.quiet = c.quiet
		c.Run()
		checkEnd(t, &c.conn, s, len(sent))
		if c.workers.n != 0 || len(c.workers.queue) != 0 {
			t.Errorf("%d workers, %d streams queued", c.workers.n, len(c.workers.queue))
		}
	})
}

func checkEnd(t *testing.T, c *conn, s *script, sent int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) > 0 || c.in.large != nil || c.block != nil || c.out.busy {
		t.Errorf("left over: %d streams, busy %v", len(c.streams), c.out.busy)
	}
	if out := s.out.Len(); out > 20*sent+1000 {
		t.Errorf("%d bytes were answered with %d", sent, out)
	}
}

// checkRequest looks for what HTTP/1.1 would read in another way.
func checkRequest(t *testing.T, r *message.Request) {
	if bytes.ContainsAny(r.Path, " \t\r\n\x00") || bytes.ContainsAny(r.Authority, " \t\r\n\x00/@") || !validMethod(r.Method) ||
		len(r.Path) == 0 || len(r.Authority) == 0 {
		t.Errorf("target %q %q %q", r.Method, r.Authority, r.Path)
	}
	cookies := 0
	for _, f := range r.Fields {
		if bytes.ContainsAny(f.Value, "\r\n\x00") || !validName(f.Name) {
			t.Errorf("field %q: %q", f.Name, f.Value)
		}
		switch f.ID {
		case message.Connection, message.TransferEncoding, message.ContentLength, message.Host, message.Upgrade, message.TE:
			t.Errorf("field %q was not taken out", f.Name)
		case message.Cookie:
			cookies++
		}
	}
	if cookies > 1 {
		t.Errorf("%d cookies", cookies)
	}
}

// FuzzClient gives a client with some calls any bytes of a backend.
func FuzzClient(f *testing.F) {
	seeds(f, append([]byte{0x88}, section("content-type: text/plain", "grpc-status: 0")...))
	f.Fuzz(func(t *testing.T, sent []byte) {
		began := make(chan struct{})
		s := &script{in: io.MultiReader(
			bytes.NewReader(append(appendSettings(nil), appendSettingsAck(nil)...)), &gate{began, bytes.NewReader(sent)},
		)}
		c := NewClientConn(s, Config{MaxHeaderBytes: 8 << 10})
		var wg sync.WaitGroup
		for range 3 {
			k, err := c.NewCall()
			if err != nil {
				t.Fatal(err)
			}
			if err := k.WriteHead(head("POST", "/"), false); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				defer k.Close()
				for {
					r, err := k.ReadHead()
					if err != nil {
						return
					}
					if r.Status >= 200 {
						break
					}
				}
				k.WriteBody([]byte("body"), true)
				k.End(nil)
				io.Copy(io.Discard, k.Body())
				for _, f := range k.Body().Trailers() {
					if !validName(f.Name) || !validValue(f.Value) {
						t.Errorf("trailer %q: %q", f.Name, f.Value)
					}
				}
			})
		}
		close(began)
		c.Run()
		wg.Wait()
		checkEnd(t, &c.conn, s, len(sent))
		if c.reserved != 0 {
			t.Errorf("%d calls reserved", c.reserved)
		}
	})
}

// gate lets nothing through until it is opened.
type gate struct {
	open <-chan struct{}
	io.Reader
}

func (g *gate) Read(p []byte) (int, error) {
	<-g.open
	return g.Reader.Read(p)
}

// oracle is net/http's server.
type oracle struct {
	*http.Server
	conns chan net.Conn
	seen  chan string
}

func (o *oracle) Accept() (net.Conn, error) {
	nc, ok := <-o.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return nc, nil
}

func (o *oracle) Addr() net.Addr { return &net.TCPAddr{} }

func (o *oracle) Close() error { return nil }

func newOracle(f *testing.F) *oracle {
	o := &oracle{conns: make(chan net.Conn), seen: make(chan string, 1)}
	o.Server = &http.Server{Protocols: new(http.Protocols), DisableGeneralOptionsHandler: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.seen <- fmt.Sprintf("%s %s %s", r.Method, r.Host, r.RequestURI)
	})}
	o.Protocols.SetUnencryptedHTTP2(true)
	var wg sync.WaitGroup
	wg.Go(func() { o.Server.Serve(o) })
	f.Cleanup(func() {
		close(o.conns)
		o.Server.Close()
		wg.Wait()
	})
	return o
}

// ask returns what the oracle makes of a request, "" where it refuses it.
func (o *oracle) ask(t *testing.T, fields []string) string {
	ours, theirs := net.Pipe()
	defer ours.Close()
	o.conns <- theirs
	c := &rawClient{http2.NewFramer(ours, ours), ours, t}
	c.AllowIllegalWrites = true
	go func() {
		io.WriteString(ours, http2.ClientPreface)
		c.WriteSettings()
		c.WriteSettingsAck()
		c.request(1, true, fields...)
		c.WritePing(false, [8]byte{'e', 'n', 'd'})
	}()
	for {
		fr, err := c.ReadFrame()
		if err != nil {
			return ""
		}
		switch fr := fr.(type) {
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		case *http2.HeadersFrame:
			select {
			case seen := <-o.seen:
				return seen
			default:
				return "" // it answered by itself
			}
		case *http2.PingFrame:
			_ = fr
		}
	}
}

// FuzzRequest gives fields, one a line, to this package and to net/http's server.
// What is taken here must be taken there, as the same request.
func FuzzRequest(f *testing.F) {
	f.Add(strings.Join(plain, "\n"))
	f.Add(strings.Join(with(":method: POST", ":path: /a?b=%20", "host: a", "cookie: a=b", "cookie: c=d", "te: trailers"), "\n"))
	f.Add(strings.Join(with(":authority: [::1]:80", ":method: OPTIONS", ":path: *"), "\n"))
	f.Add(strings.Join(with(":authority: a:", ":path: /\\<é>?\"\\é<"), "\n"))
	o := newOracle(f)
	f.Fuzz(func(t *testing.T, lines string) {
		var fields []string
		for line := range strings.SplitSeq(lines, "\n") {
			if strings.Contains(line, ": ") && len(line) < 1000 && len(fields) < 20 {
				fields = append(fields, line)
			}
		}
		var got string
		end := new(hangUp)
		s := &script{in: io.MultiReader(strings.NewReader(http2.ClientPreface), bytes.NewReader(rawRequest(fields)), end)}
		c := NewServerConn(s, Config{}, func(e message.Exchange) {
			r := e.Request()
			checkRequest(t, r)
			got = fmt.Sprintf("%s %s %s", r.Method, r.Authority, r.Path)
			if r.Protocol != nil {
				got = ""
			}
		})
		end.quiet = c.quiet
		c.Run()
		if got == "" {
			return
		}
		if want := sentForm(o.ask(t, fields)); got != want {
			t.Errorf("%q is %q, for net/http it is %q", fields, got, want)
		}
	})
}

// sentForm is what the oracle saw as it is sent on: an authority without an empty port, and
// with per cent what servers differ in.
func sentForm(seen string) string {
	method, rest, _ := strings.Cut(seen, " ")
	host, target, ok := strings.Cut(rest, " ")
	if !ok {
		return seen
	}
	var sent strings.Builder
	path := true
	for i := range len(target) {
		switch c := target[i]; {
		case c >= 0x80, strings.IndexByte(`"<>`, c) >= 0, c == '\\' && path:
			fmt.Fprintf(&sent, "%%%02X", c)
		default:
			path = path && c != '?'
			sent.WriteByte(c)
		}
	}
	return method + " " + strings.TrimSuffix(host, ":") + " " + sent.String()
}

// rawRequest is a client's words with one request.
func rawRequest(fields []string) []byte {
	var buf bytes.Buffer
	fr := http2.NewFramer(&buf, nil)
	fr.WriteSettings()
	fr.WriteSettingsAck()
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: section(fields...), EndHeaders: true, EndStream: true})
	return buf.Bytes()
}
