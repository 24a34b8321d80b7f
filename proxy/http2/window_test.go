package http2

import (
	"io"
	"math"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/linetest"
	"sallyport/proxy/message"
)

// unread is how many bytes of bodies wait to be read.
func (c *conn) unread() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		n += s.in.n
	}
	return n
}

// post begins a request with a body.
func (c *rawClient) post(id uint32, path string) {
	c.request(id, false, ":method: POST", ":scheme: http", ":path: "+path, ":authority: a")
}

// body sends n bytes of one.
func (c *rawClient) body(id uint32, n int) {
	for left := n; left > 0; left -= maxPayload {
		c.WriteData(id, false, make([]byte, min(left, maxPayload)))
	}
}

// Uploads that their handlers do not read, as many as there may be, take nothing from
// another one on the same connection.
func TestServer_AnUnreadUploadHoldsUpNoOther(t *testing.T) {
	release := make(chan struct{})
	f := serve(t, Config{}, func(e message.Exchange) {
		if string(e.Request().Path) != "/read" {
			<-release
		}
		hello(e)
	})
	defer close(release)
	c := f.dial(t)
	const read = 41
	for id := uint32(1); id < read; id += 2 { // 5 MiB, where the connection's window is one of 1
		c.post(id, "/")
		c.body(id, streamWindow)
	}
	c.post(read, "/read")
	c.WriteData(read, true, []byte("x"))
	for {
		if f := c.await(http2.FrameHeaders); f.Header().StreamID == read {
			return
		}
	}
}

// So it is with a backend's responses.
func TestClient_AnUnreadResponseHoldsUpNoOther(t *testing.T) {
	large := make([]byte, 1<<20)
	s := backend(t, func(w http.ResponseWriter, r *http.Request) { w.Write(large) })
	c := connect(t, s.Listener.Addr().String(), Config{})
	for range 10 {
		k := newCall(t, c)
		answerOf(t, k, head("GET", "/"))
	}
	eventually(t, "all streams' windows are full", func() bool { return c.unread() == 10*streamWindow })
	k := newCall(t, c)
	answerOf(t, k, head("GET", "/"))
	if n, err := io.Copy(io.Discard, k.Body()); n != int64(len(large)) || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A body whose length is told needs no window beyond it.
func TestServer_OpensNoWindowThatABodyDoesNotNeed(t *testing.T) {
	f := serve(t, Config{}, hello)
	c := f.dial(t)
	c.request(1, false, ":method: POST", ":scheme: http", ":path: /", ":authority: a", "content-length: 200000")
	c.body(1, 200_000)
	c.WriteData(1, true, nil)
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == 1 {
				t.Error("WINDOW_UPDATE of", f.Increment)
			}
		case *http2.DataFrame:
			return
		}
	}
}

// grown is the window of the streams of a connection whose readers keep up.
func (c *conn) grown() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line.window
}

const far = 20 * time.Millisecond

// Windows grow with what comes within a round trip, where it is read.
func TestServer_WindowsGrowWithTheLine(t *testing.T) {
	window := make(chan int32, 1)
	f := serve(t, Config{}, func(e message.Exchange) {
		hello(e)
		window <- e.(*exchange).c.grown()
	})
	address := linetest.Relay(t, f.Addr().String(), far)
	const size = 24 << 20
	res, err := transport(t).RoundTrip(request(t, "POST", "http://"+address, io.LimitReader(zeroes{}, size)))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if w := <-window; w < 4*streamWindow {
		t.Errorf("a window of %d bytes after %d over a line of %v each way", w, size, far)
	}
}

func TestClient_WindowsGrowWithTheLine(t *testing.T) {
	const size = 24 << 20
	s := backend(t, func(w http.ResponseWriter, r *http.Request) { io.CopyN(w, zeroes{}, size) })
	c := connect(t, linetest.Relay(t, s.Listener.Addr().String(), far), Config{})
	k := newCall(t, c)
	answerOf(t, k, head("GET", "/"))
	if n, err := io.Copy(io.Discard, k.Body()); n != size || err != nil {
		t.Fatal(n, err)
	}
	if w := c.grown(); w < 4*streamWindow {
		t.Errorf("a window of %d bytes after %d over a line of %v each way", w, size, far)
	}
}

// Where nobody reads they do not, however long the line is.
func TestClient_AWindowDoesNotGrowForAReaderThatIsSlow(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) { io.CopyN(w, zeroes{}, 64<<20) })
	c := connect(t, linetest.Relay(t, s.Listener.Addr().String(), far), Config{})
	quick, slow := newCall(t, c), newCall(t, c)
	answerOf(t, slow, head("GET", "/"))
	answerOf(t, quick, head("GET", "/"))
	// The line is measured by the one that reads; of the other what waits is never read up.
	some := make([]byte, 1<<10)
	for buf := make([]byte, 64<<10); c.grown() < 4*streamWindow; {
		if _, err := quick.Body().Read(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := slow.Body().Read(some); err != nil {
			t.Fatal(err)
		}
	}
	for range streamWindow / 1024 {
		eventually(t, "more waits than is read", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return slow.(*Call).s.in.n > streamWindow/2
		})
		if _, err := slow.Body().Read(some); err != nil {
			t.Fatal(err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if size := slow.(*Call).s.recv.size; size != streamWindow {
		t.Errorf("the window of a slow reader is %d", size)
	}
}

// A PING is sent as long as it shows that windows are what holds the peer back, and
// seldom otherwise.
func TestLine_MeasuresWhereWindowsMayBeTooSmall(t *testing.T) {
	c := new(conn)
	c.cfg = &Config{}
	c.watch.stopped = true // nothing is written
	c.line.init()
	c.hold.mem = plenty{}
	c.recv.size, c.recv.left = connWindow, connWindow
	pings := func(bytes int64, perTrip int32) (n int) {
		for ; bytes > 0; bytes -= maxPayload {
			c.receive(maxPayload)
			if c.line.asked && c.line.bytes >= int64(perTrip) {
				n++
				c.measured()
			}
		}
		return n
	}
	if n := pings(1<<30, streamWindow/8); n > 16 || c.line.window != streamWindow {
		t.Errorf("%d PINGs for 1 GiB of which little comes within a round trip; the window is %d", n, c.line.window)
	}
	c.line.wait = 0
	if n := pings(1<<30, 1<<20); n > 16 || c.line.window != lineGrowth<<20 {
		t.Errorf("%d PINGs for 1 GiB; the window is %d for 1 MiB within a round trip", n, c.line.window)
	}
	c.line.wait, c.line.best = 0, math.MaxFloat64
	if n := pings(1<<30, 8<<20); n > 16 || c.line.window != lineGrowth<<20 {
		t.Errorf("%d PINGs for 1 GiB; the window is %d where a larger one has brought no more bandwidth", n, c.line.window)
	}
}

// zeroes reads zeroes.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }
