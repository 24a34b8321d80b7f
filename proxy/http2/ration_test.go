package http2

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport/proxy/memory"
	"sallyport/proxy/message"
)

// purse is memory that a test makes short.
type purse struct {
	held       atomic.Int64
	short, out atomic.Bool
	rationed   [16]atomic.Int64
}

func (p *purse) Take(n int)                 { p.held.Add(int64(n)) }
func (p *purse) Short() bool                { return p.short.Load() }
func (p *purse) Out() bool                  { return p.out.Load() }
func (p *purse) Rationed(what memory.Kind)  { p.rationed[what].Add(1) }
func (p *purse) times(what memory.Kind) int { return int(p.rationed[what].Load()) }

// cheapRequests are n requests in as few bytes as can be, from stream first on.
func cheapRequests(first, n int) []byte {
	var all, section bytes.Buffer
	f, e := http2.NewFramer(&all, nil), hpack.NewEncoder(&section)
	for i := range n {
		section.Reset()
		for _, h := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: "a"}} {
			e.WriteField(h)
		}
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(first + 2*i), BlockFragment: section.Bytes(), EndStream: true, EndHeaders: true})
	}
	return all.Bytes()
}

// As many streams are served at once as were announced, and the client is asked for nothing.
func TestServer_ServesAllStreamsAtOnce(t *testing.T) {
	var served atomic.Int32
	release := make(chan struct{})
	f := serve(t, Config{}, func(e message.Exchange) {
		served.Add(1)
		<-release
		answer(e, 200, "")
	})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	c := f.dial(t)
	c.nc.Write(cheapRequests(1, defaultMaxStreams))
	eventually(t, "all streams are served", func() bool { return served.Load() == defaultMaxStreams })
	letGo()
	for ends := 0; ends < defaultMaxStreams; {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.PingFrame:
			t.Fatal("the client is asked for a PING")
		case *http2.HeadersFrame:
			if f.StreamEnded() {
				ends++
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				ends++
			}
		}
	}
}

func TestServer_FewStreamsAreServedWhereMemoryIsShort(t *testing.T) {
	const streams = 50
	var serving, served atomic.Int32
	release := make(chan struct{})
	p := new(purse)
	p.short.Store(true)
	f := serve(t, Config{Memory: p}, func(e message.Exchange) {
		serving.Add(1)
		<-release
		serving.Add(-1)
		served.Add(1)
		answer(e, 200, "")
	})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	c := f.dial(t)
	c.nc.Write(cheapRequests(1, streams))
	eventually(t, "streams wait", func() bool { return p.times(memory.StreamWaits) == streams-rationedStreams })
	if n := serving.Load(); n > rationedStreams {
		t.Errorf("%d streams are served", n)
	}
	release <- struct{}{}
	eventually(t, "one that waits is served in its place", func() bool { return served.Load() == 1 && serving.Load() == rationedStreams })
	p.short.Store(false)
	eventually(t, "all are served when there is memory", func() bool { return served.Load() == 1 && serving.Load() == streams-1 })
	letGo()
	eventually(t, "all are done", func() bool { return served.Load() == streams })
}

func TestServer_AStreamWaitsForMemoryAsLongAsForAHead(t *testing.T) {
	release := make(chan struct{})
	var refused atomic.Int32
	p := new(purse)
	p.short.Store(true)
	f := serve(t, Config{Memory: p, Header: 300 * time.Millisecond, Refused: func(_ *message.Request, status int, _ string) {
		if status == 503 {
			refused.Add(1)
		}
	}}, func(e message.Exchange) {
		<-release
		answer(e, 200, "")
	})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	c := f.dial(t)
	c.nc.Write(cheapRequests(1, 10))
	for range 10 - rationedStreams {
		c.answered(t, 503)
	}
	letGo()
	for range rationedStreams {
		c.answered(t, 200)
	}
	if n := refused.Load(); n != 10-rationedStreams {
		t.Errorf("%d refusals are told of", n)
	}
}

func TestServer_StreamsAreRefusedWhereAClientMustGiveWay(t *testing.T) {
	release := make(chan struct{})
	p := new(purse)
	p.short.Store(true)
	p.out.Store(true)
	f := serve(t, Config{Memory: p}, func(e message.Exchange) {
		<-release
		answer(e, 200, "")
	})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	c := f.dial(t)
	c.nc.Write(cheapRequests(1, 10))
	for range 10 - rationedStreams {
		c.answered(t, 503)
	}
	c.post(21, "/") // whose body would have to be taken
	if r := c.await(http2.FrameRSTStream).(*http2.RSTStreamFrame); r.StreamID != 21 || r.ErrCode != http2.ErrCodeRefusedStream {
		t.Errorf("RST_STREAM of %d with %v", r.StreamID, r.ErrCode)
	}
	letGo()
	for range rationedStreams {
		c.answered(t, 200)
	}
}

// answered wants the next response to have a status.
func (c *rawClient) answered(t *testing.T, status int) {
	t.Helper()
	f := c.await(http2.FrameHeaders).(*http2.HeadersFrame)
	fields, err := hpack.NewDecoder(4096, nil).DecodeFull(f.HeaderBlockFragment())
	if err != nil || fields[0].Value != fmt.Sprint(status) {
		t.Fatalf("%v, %v", fields, err)
	}
}

func TestServer_TheLargestUnreadBodyIsBrokenOffWhereAClientMustGiveWay(t *testing.T) {
	const small, large, others = 1, 3, 5
	p := new(purse)
	var begun, broken atomic.Bool
	release := make(chan struct{})
	f := serve(t, Config{Memory: p}, func(e message.Exchange) {
		if string(e.Request().Path) == "/large" {
			e.OnGone(func() { broken.Store(true) })
			begun.Store(true)
		}
		<-release
		if string(e.Request().Path) != "/large" {
			hello(e)
		}
	})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	c := f.dial(t)
	c.post(small, "/small")
	c.body(small, 1000)
	c.post(large, "/large")
	c.body(large, 200<<10)
	f.each(func(sc *ServerConn) {
		eventually(t, "all is there", func() bool { return sc.unread() == 1000+200<<10 })
	})
	eventually(t, "its handler runs", begun.Load)
	for id := uint32(others); id < others+6; id += 2 {
		c.post(id, "/small")
	}
	f.each(func(sc *ServerConn) {
		eventually(t, "all streams are there", func() bool {
			sc.mu.Lock()
			defer sc.mu.Unlock()
			return len(sc.streams) == 5
		})
	})
	p.short.Store(true)
	p.out.Store(true)
	for id := uint32(others); id < others+6; id += 2 {
		c.body(id, rationedUnread)
	}
	if r := c.await(http2.FrameRSTStream).(*http2.RSTStreamFrame); r.StreamID != large || r.ErrCode != codeCalm {
		t.Errorf("RST_STREAM of %d with %v", r.StreamID, r.ErrCode)
	}
	eventually(t, "its handler is told", broken.Load)
	letGo()
	c.WriteData(small, true, nil)
	for f := c.await(http2.FrameHeaders); f.Header().StreamID != small; f = c.await(http2.FrameHeaders) {
		// The others are not whole.
	}
	if n := p.times(memory.BodyBroken); n != 1 {
		t.Errorf("%d bodies were broken off", n)
	}
}

// While memory is short a connection's window opens as bodies are read, and
// streams' windows shrink; both grow again.
func TestServer_WindowsShrinkWhereMemoryIsShort(t *testing.T) {
	p := new(purse)
	read := make(chan int)
	f := serve(t, Config{Memory: p}, func(e message.Exchange) {
		for n := range read {
			if _, err := io.ReadFull(e.Body(), make([]byte, n)); err != nil {
				t.Error(err)
			}
		}
		hello(e)
	})
	defer close(read)
	c := f.dial(t)
	go io.Copy(io.Discard, c.nc)
	p.short.Store(true)
	c.post(1, "/")
	c.body(1, streamWindow)
	f.each(func(sc *ServerConn) {
		window := func() (left, size, all int32) {
			sc.mu.Lock()
			defer sc.mu.Unlock()
			s := sc.streams[1]
			if s == nil {
				return 0, 0, 0
			}
			return s.recv.left, s.recv.size, sc.recv.left + sc.recv.credit
		}
		eventually(t, "all is there", func() bool { return sc.unread() == streamWindow })
		if _, _, all := window(); all != connWindow-streamWindow {
			t.Errorf("the connection's window is %d, though nothing was read", all)
		}
		read <- streamWindow
		eventually(t, "the stream's window shrinks", func() bool {
			left, size, all := window()
			return left == rationedWindow && size == rationedWindow && all == connWindow
		})
		// What nobody reads any more is given back, too.
		c.post(3, "/")
		c.body(3, streamWindow)
		eventually(t, "all is there", func() bool { return sc.unread() == streamWindow })
		c.WriteRSTStream(3, http2.ErrCodeCancel)
		eventually(t, "the connection's window is given back", func() bool { _, _, all := window(); return all == connWindow })
		c.post(5, "/")
		c.body(5, streamWindow)
		eventually(t, "all is there", func() bool { return sc.unread() == streamWindow })
		p.short.Store(false)
		eventually(t, "it is given back when there is memory", func() bool { _, _, all := window(); return all == connWindow })
		c.body(1, rationedWindow)
		read <- rationedWindow
		eventually(t, "it grows again", func() bool { _, size, _ := window(); return size == streamWindow })
	})
}

// What is held is told of, and given back with the connection.
func TestServer_HoldsNothingInTheEnd(t *testing.T) {
	p := new(purse)
	release := make(chan struct{})
	f := serve(t, Config{Memory: p}, func(e message.Exchange) {
		<-release
		hello(e)
	})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	c := f.dial(t)
	c.nc.Write(cheapRequests(1, 20))
	c.post(41, "/")
	c.body(41, 100_000)
	const held = 20*workerBytes + 100_000
	eventually(t, "what is held is told of", func() bool { return p.held.Load() > held-holdStep })
	letGo()
	c.post(43, "/")
	c.body(43, 1000)
	c.nc.Close()
	f.ended(t, 1)
	if n := p.held.Load(); n != 0 {
		t.Errorf("%d bytes are held by nobody", n)
	}
}

// A response that its client does not read counts as that client's, and is broken off
// where it must give way.
func TestClient_AnUnreadResponseIsItsClients(t *testing.T) {
	s := backend(t, func(w http.ResponseWriter, r *http.Request) { io.CopyN(w, zeroes{}, 1<<20) })
	c := connect(t, s.Listener.Addr().String(), Config{})
	p := new(purse)
	call := func() *Call {
		k, err := c.NewCall()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		k.ChargeTo(p)
		r := head("GET", "/")
		r.Length = 0
		if err := k.WriteHead(r, true); err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := call()
	eventually(t, "a window is full", func() bool { return p.held.Load() > streamWindow-holdStep })
	p.short.Store(true)
	p.out.Store(true)
	second := call()
	eventually(t, "the second is broken off", func() bool { return p.times(memory.BodyBroken) == 1 })
	if _, err := second.ReadHead(); err != ErrNoMemory {
		t.Error(err)
	}
	first.Close()
	second.Close()
	eventually(t, "all is given back", func() bool { return p.held.Load() == 0 })
}
