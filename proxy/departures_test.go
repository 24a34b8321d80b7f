package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	codec "sallyport/proxy/http2"
	"sallyport/proxy/message"
)

// count is how many requests are watched.
func (d *departures) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.watched)
}

// awaited is a request of a connection, and what tells it that the client has left.
func awaited(t *testing.T, secure bool) (x *exchange, client *net.TCPConn, told wake) {
	ours, theirs := tcpPair(t)
	x = exchanges.New().(*exchange) // it is not kept
	x.server = new(Server)
	x.conn, x.in = &conn{socket: newTCPConn(ours)}, new(message.Request)
	if secure {
		x.conn.tls = new(tls.Conn)
	}
	told = make(wake, 1)
	x.waits.in(told)
	return x, theirs.(*net.TCPConn), told
}

func TestDepartures_AreToldOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		secure bool
		leave  func(*net.TCPConn) error
		gone   bool
	}{
		"closes, of TLS":          {true, (*net.TCPConn).Close, true},
		"ends its half, of TLS":   {true, (*net.TCPConn).CloseWrite, true},
		"resets, of TLS":          {true, func(c *net.TCPConn) error { _ = c.SetLinger(0); return c.Close() }, true},
		"resets, without TLS":     {false, func(c *net.TCPConn) error { _ = c.SetLinger(0); return c.Close() }, true},
		"says more":               {true, func(c *net.TCPConn) error { _, err := c.Write([]byte("GET")); return err }, false},
		"ends its half, no TLS":   {false, (*net.TCPConn).CloseWrite, false},
		"says nothing, but stays": {true, func(*net.TCPConn) error { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			x, client, told := awaited(t, tc.secure)
			other, otherClient, otherTold := awaited(t, true)
			d := &x.server.departures
			if err := d.open(); err != nil {
				t.Fatal(err)
			}
			ran := make(chan struct{})
			go func() { defer close(ran); d.run(x.server) }()
			if !d.watch(x) || !d.watch(other) {
				t.Fatal("it cannot be watched")
			}
			if err := tc.leave(client); err != nil {
				t.Fatal(err)
			}
			if tc.gone {
				await(t, "the word", told)
			}
			_ = otherClient.Close()
			await(t, "the word of one that leaves later", otherTold)
			if x.gone.Load() != tc.gone || !other.gone.Load() {
				t.Errorf("gone: %v, and the other: %v", x.gone.Load(), other.gone.Load())
			}
			d.unwatch(x)
			d.unwatch(other)
			if n := d.count(); n != 0 {
				t.Errorf("%d are watched in the end", n)
			}
			d.close()
			await(t, "the end", ran)
			if d.watch(x) {
				t.Error("watched by nobody")
			}
		})
	}
}

// One that has left before it is watched is told of as well; one that is not watched any more
// is not.
func TestDepartures_BeforeAndBehind(t *testing.T) {
	x, client, told := awaited(t, true)
	d := &x.server.departures
	if err := d.open(); err != nil {
		t.Fatal(err)
	}
	ran := make(chan struct{})
	go func() { defer close(ran); d.run(x.server) }()
	_ = client.Close()
	d.watch(x)
	await(t, "the word", told)
	d.unwatch(x)
	x.gone.Store(false)
	d.tell(d.last)
	if x.gone.Load() {
		t.Error("told behind the end")
	}
	d.close()
	await(t, "the end", ran)
}

// A request whose backend thinks costs nothing: after the first step, nobody looks.
func TestSocket_OfALongPollIsLeftAlone(t *testing.T) {
	for name, first := range map[string]bool{"HTTP/1.1": true, "HTTP/2": false} {
		t.Run(name, func(t *testing.T) {
			x, _, _ := awaited(t, true)
			if err := x.server.departures.open(); err != nil {
				t.Fatal(err)
			}
			defer x.server.departures.close()
			var looks atomic.Int64
			if first {
				x.conn.gone = func() bool { looks.Add(1); return false }
			}
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				c := &countedDeadlines{Conn: near}
				s := &socket{Conn: c, x: x}
				_ = s.SetReadDeadline(time.Now().Add(2 * time.Hour))
				read := make(chan error, 1)
				go func() {
					_, err := s.Read(make([]byte, 1))
					read <- err
				}()
				time.Sleep(time.Hour)
				if n := c.set.Load(); n > 2 {
					t.Errorf("its deadline was set %d times within an hour", n)
				}
				if n := looks.Load(); n > 1 {
					t.Errorf("its client was looked at %d times", n)
				}
				x.onGone() // whoever is told calls it; the pipe is no link
				s.interrupt()
				if err := <-read; err != errClientGone {
					t.Error(err)
				}
			})
			if x.departure != 0 {
				x.server.departures.unwatch(x)
			}
		})
	}
}

// silentBackend speaks HTTP/2 and says nothing that it does not have to, but a response's head where
// that makes a tunnel.
func silentBackend(c net.Conn, tunnel bool) {
	r := bufio.NewReader(c)
	_, _ = io.CopyN(io.Discard, r, int64(len(http2.ClientPreface)))
	h := http2.NewFramer(c, r)
	h.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = h.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	for {
		frame, err := h.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = h.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = h.WritePing(true, f.Data)
			}
		case *http2.MetaHeadersFrame:
			if tunnel {
				var block bytes.Buffer
				_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
				_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: block.Bytes(), EndHeaders: true})
			}
		}
	}
}

// The same by HTTP/2, where a silent tunnel is left alone from the beginning.
func TestStream_OfALongPollIsLeftAlone(t *testing.T) {
	for name, most := range map[string]int64{"a long poll": 1, "a silent tunnel": 0} {
		t.Run(name, func(t *testing.T) {
			tunnel := most == 0
			x, _, _ := awaited(t, true)
			if err := x.server.departures.open(); err != nil {
				t.Fatal(err)
			}
			defer x.server.departures.close()
			var looks atomic.Int64
			x.conn.gone = func() bool { looks.Add(1); return false }
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go silentBackend(far, tunnel)
				cs := newSharedConns(Pool{ResponseTimeout: 2 * time.Hour, SilenceTimeout: 2 * time.Hour}.withDefaults(), x.server)
				conn := codec.NewClientConn(near, cs.config)
				ran := make(chan error, 1)
				go func() { ran <- conn.Run() }()
				if err := conn.Settled(); err != nil {
					t.Fatal(err)
				}
				call, err := conn.NewCall()
				if err != nil {
					t.Fatal(err)
				}
				s := &stream{Call: call, conn: conn, of: cs, x: x}
				x.out = message.Request{Method: []byte("GET"), Authority: []byte(www), Path: []byte("/")}
				if tunnel {
					x.out.Method, x.out.Protocol = []byte("CONNECT"), webSocket
				}
				if err := s.WriteHead(&x.out, !tunnel); err != nil {
					t.Fatal(err)
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if _, err := s.ReadHead(); err == nil {
						_, _ = s.Read(make([]byte, 1))
					}
				}()
				time.Sleep(time.Hour)
				n := looks.Load()
				s.interrupt()
				<-ended
				if n > most || tunnel != s.tunnel {
					t.Errorf("its client was looked at %d times (a tunnel: %v)", n, s.tunnel)
				}
				conn.Close()
				<-ran
				far.Close()
				cs.stop()
			})
			if x.departure != 0 {
				x.server.departures.unwatch(x)
			}
		})
	}
}

// A deadline that another goroutine sets ends a wait that is under way, as the end of a request's body
// does.
func TestSocket_LearnsOfADeadlineInAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		x := &exchange{record: record{server: new(Server), conn: new(conn)}}
		s := &socket{Conn: near, x: x}
		read := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 1))
			read <- err
		}()
		time.Sleep(time.Minute)
		_ = s.SetReadDeadline(time.Now().Add(time.Minute))
		began := time.Now()
		if err := <-read; !isTimeout(err) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// polled is a front whose backend responds to a request when it is told to.
func polled(t *testing.T, protocol string) (f *front, respond chan struct{}, ended chan struct{}) {
	respond, ended = make(chan struct{}), make(chan struct{}, 1)
	think := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-respond:
			_, _ = io.WriteString(w, "news")
		case <-r.Context().Done():
			ended <- struct{}{}
		}
	}
	var pool *Pool
	if protocol == "h2c" {
		pool, _ = h2cPool(t, h2cBackend(t, think))
	} else {
		pool, _ = poolOf(t, backend(t, think))
	}
	return serve(t, pool), respond, ended
}

// A client that leaves while its backend thinks is noticed, also after a while, and takes its request
// along; one that stays gets its response, and may ask again.
func TestDepartures_WhileABackendThinks(t *testing.T) {
	for _, protocol := range []string{"http1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f, respond, ended := polled(t, protocol)
			watched := func() bool { return f.server.departures.count() == 1 }
			c := f.dial(www)
			for range 2 {
				c.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
				eventually(t, "the client is watched", watched)
				respond <- struct{}{}
				if body := text(t, c.answer()); body != "news" {
					t.Errorf("the response is %q", body)
				}
				f.access.next(t)
				eventually(t, "it is not any more", func() bool { return !watched() })
			}
			c.send("GET / HTTP/1.1\nHost: " + www + "\n\n")
			eventually(t, "the client is watched again", watched)
			_ = c.Close()
			await(t, "the end of the backend's request", ended)
			if line := f.access.next(t); line["status"].Int64() != statusClientGone {
				t.Errorf("logged %v", line)
			}
			eventually(t, "nobody is watched", func() bool { return !watched() })
		})
	}
}
