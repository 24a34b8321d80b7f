package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// A client may throw away a whole answer whose stream ends with an error (RFC 9113 §8.1).
func TestUpload_ThatOutlivesItsAnswerIsStoppedWithoutAnError(t *testing.T) {
	pool, _ := poolOf(t, rawBackend(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		io.Copy(io.Discard, c)
	}))
	f := serve(t, pool)
	h := f.dialHTTP2()
	f.sendHead(h, 1, [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}}, false)
	h.WriteData(1, false, []byte("the beginning"))
	for whole := false; ; {
		fr, err := h.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		whole = whole || fr.Header().Type == http2.FrameData && fr.Header().Flags.Has(http2.FlagDataEndStream)
		if rst, ok := fr.(*http2.RSTStreamFrame); ok {
			if rst.ErrCode != http2.ErrCodeNo || !whole {
				t.Errorf("%v with %v, behind a whole answer: %v", rst, rst.ErrCode, whole)
			}
			break
		}
	}
	if line := f.access.next(t); line["status"].Int64() != 200 || line["outcome"].String() != "ok" {
		t.Errorf("logged %v", line)
	}
}

// A reset that a broken answer makes ends the upload too, and says nothing of the client.
func TestUpload_BrokenAnswerIsTheBackendsFault(t *testing.T) {
	pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nhalf")
		}
	}))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		for range 50 { // it was a race
			r, w := io.Pipe()
			go func() { io.Copy(w, zeroes(1<<30)) }()
			res, err := c.Post(base+"/", "text/plain", r)
			if err == nil {
				if _, err := io.Copy(io.Discard, res.Body); err == nil {
					t.Error("half an answer was taken for a whole one")
				}
				res.Body.Close()
			}
			r.Close()
			if b.next().err == nil {
				t.Error("the backend was not blamed")
			}
			if line := f.access.next(t); line["outcome"].String() != errBackendBroken.outcome {
				t.Errorf("logged %v", line)
			}
		}
	})
}

// Who leaves within a body is gone; only a body that cannot be read is a bad request.
func TestUpload_ClientThatVanishesIsGone(t *testing.T) {
	pool, b := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	counted := "POST / HTTP/1.1\nHost: " + www + "\nContent-Length: 100\n\nhel"
	streamed := "POST / HTTP/1.1\nHost: " + www + "\nTransfer-Encoding: chunked\n\n5\nhel"
	hurry := func(c *raw) { // no close_notify, and a reset in place of FIN
		tcp := c.Conn.(*tls.Conn).NetConn().(*net.TCPConn)
		tcp.SetLinger(0)
		tcp.Close()
	}
	politely := func(c *raw) { c.Close() }
	for name, tc := range map[string]struct {
		request string
		leave   func(*raw)
	}{
		"small, politely":    {counted, politely},
		"small, in a hurry":  {counted, hurry},
		"stream, politely":   {streamed, politely},
		"stream, in a hurry": {streamed, hurry},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial(www)
			c.send(tc.request)
			for f.server.requests.count() == 0 {
				time.Sleep(time.Millisecond)
			}
			tc.leave(c)
			if line := f.access.next(t); line["status"].Int64() != 499 || line["outcome"].String() != errClientGone.outcome {
				t.Errorf("logged %v", line)
			}
		})
	}
	for name, tc := range map[string]struct {
		length string
		then   func(*http2.Framer, net.Conn)
		status int64
	}{
		"HTTP/2, small":           {"100", func(_ *http2.Framer, c net.Conn) { c.Close() }, 499},
		"HTTP/2, stream":          {"100000", func(_ *http2.Framer, c net.Conn) { c.Close() }, 499},
		"HTTP/2, reset":           {"100000", func(h *http2.Framer, _ net.Conn) { h.WriteRSTStream(1, http2.ErrCodeCancel) }, 499},
		"HTTP/2, of wrong length": {"100000", func(h *http2.Framer, _ net.Conn) { h.WriteData(1, true, nil) }, 400},
	} {
		t.Run(name, func(t *testing.T) {
			h, c := f.dialHTTP2Conn()
			f.sendHead(h, 1, [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", www}, {":path", "/"}, {"content-length", tc.length}}, false)
			h.WriteData(1, false, []byte("hel"))
			for f.server.requests.count() == 0 {
				time.Sleep(time.Millisecond)
			}
			tc.then(h, c)
			if line := f.access.next(t); line["status"].Int64() != tc.status || (line["outcome"].String() == errClientGone.outcome) != (tc.status == 499) {
				t.Errorf("logged %v", line)
			}
		})
	}
	for len(b.changed) > 0 {
		if r := b.next(); r.err != nil && !errors.Is(r.err, context.Canceled) {
			t.Errorf("the backend was blamed: %v", r.err)
		}
	}
}

// A client that sends all before it reads gets to see a response that came early: a backend's,
// which closes its connection then, and one that is made here.
func TestUpload_EarlyResponseArrives(t *testing.T) {
	pool, _ := poolOf(t, rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge")
	}))
	f := serve(t, pool, quiet, func(c *Config) {
		c.Sites[0].Routes = append(c.Sites[0].Routes, Route{Path: "/limited", Pool: pool, MaxBody: 1 << 20})
	})
	const size = 20 << 20
	piece := make([]byte, 64<<10)
	for _, path := range []string{"/", "/limited"} {
		for _, head := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n", size), fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size)} {
			for range 3 {
				c := f.dial(www)
				io.WriteString(c, "PUT "+path+" HTTP/1.1\r\nHost: "+www+"\r\n"+head)
				for sent := 0; sent < size; sent += len(piece) {
					if _, err := c.Write(piece); err != nil {
						t.Fatalf("%s: after %d bytes: %v", path, sent, err)
					}
				}
				if res := c.answer(); res.StatusCode != 413 {
					t.Errorf("%s: %d", path, res.StatusCode)
				}
				c.Close()
			}
		}
	}
}

// A backend that never says 100 (Continue) is waited for once.
func TestUpload_SilenceOnExpectIsLearnt(t *testing.T) {
	var says atomic.Bool
	early := make(chan bool, 1) // whether the body came before anything was said
	pool, b := poolOf(t, rawBackend(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if says.Load() {
				_, err := in.Peek(1) // the next byte, unless it waits for what follows
				early <- err == nil
				io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			}
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}))
	f := serve(t, pool)
	silent := &f.server.forwarders[0].silent
	put := func() {
		c := f.dial(www)
		c.send("PUT / HTTP/1.1\nHost: " + www + "\nExpect: 100-continue\nContent-Length: 5\nConnection: close\n\n")
		for status := 100; status == 100; {
			res := c.answer()
			if status = res.StatusCode; status == 100 {
				io.WriteString(c, "hello")
			}
			if status != 100 && status != 200 {
				t.Errorf("got %d", status)
			}
		}
		b.next()
	}
	if silent.has(b.addresses[0]) {
		t.Error("it is known before anything was asked")
	}
	put()
	if !silent.has(b.addresses[0]) {
		t.Error("it was not learnt that it keeps silent")
	}
	says.Store(true)
	put() // the body is sent without a wait, else the backend would wait for ever
	if !<-early {
		t.Error("the body did not come")
	}
	if silent.has(b.addresses[0]) {
		t.Error("it said 100, and still counts as silent")
	}
}

// Uploads that their backend does not read hold up no other on the same connection.
func TestUpload_OnesThatStandStillHoldUpNoOther(t *testing.T) {
	begun, release := make(chan struct{}, 10), make(chan struct{})
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-release
			return
		}
		io.Copy(io.Discard, r.Body)
	}))
	f := serve(t, pool)
	c := f.client("h2")
	var uploads sync.WaitGroup
	defer uploads.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer close(release)
	var sent atomic.Int64
	for range 8 { // whose windows are twice what the connection's is
		uploads.Go(func() {
			r, _ := http.NewRequestWithContext(ctx, "POST", base+"/slow", counting{zeroes(64 << 20), &sent})
			patient := &http.Client{Transport: c.Transport}
			if res, err := patient.Do(r); err == nil {
				res.Body.Close()
			}
		})
	}
	for range 8 {
		await(t, "an upload", begun)
	}
	for last := int64(-1); last != sent.Load(); time.Sleep(200 * time.Millisecond) {
		last = sent.Load() // they stand still when all buffers on the way are full
	}
	for range 3 {
		res, err := c.Post(base+"/", "", zeroes(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
	}
}

// counting counts what is read.
type counting struct {
	io.Reader
	n *atomic.Int64
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
