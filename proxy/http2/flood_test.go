package http2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// rawClient is a client played frame by frame.
type rawClient struct {
	*http2.Framer
	nc net.Conn
	t  testing.TB
}

// dial connects a client that has greeted and read the server's settings.
func (f *front) dial(t testing.TB, settings ...http2.Setting) *rawClient {
	t.Helper()
	nc, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	io.WriteString(nc, http2.ClientPreface)
	c := &rawClient{http2.NewFramer(nc, nc), nc, t}
	c.AllowIllegalWrites = true
	c.WriteSettings(settings...)
	c.WriteSettingsAck()
	c.await(http2.FrameSettings)
	return c
}

// await reads until a frame of a kind.
func (c *rawClient) await(kind http2.FrameType) http2.Frame {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(patience))
	for {
		f, err := c.ReadFrame()
		if err != nil {
			c.t.Fatalf("waiting for %v: %v", kind, err)
		}
		if f.Header().Type == kind {
			return f
		}
	}
}

// plain are the fields of a plain request.
var plain = []string{":method: GET", ":scheme: http", ":path: /", ":authority: a"}

// section encodes literal fields "name: value".
func section(fields ...string) []byte {
	var b []byte
	for _, f := range fields {
		i := strings.Index(f, ": ")
		name, value := f[:i], f[i+2:]
		b = append(b, 0)
		b = appendInt(b, 0, 7, len(name))
		b = append(b, name...)
		b = appendInt(b, 0, 7, len(value))
		b = append(b, value...)
	}
	return b
}

func (c *rawClient) request(id uint32, end bool, fields ...string) {
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: section(fields...), EndHeaders: true, EndStream: end})
}

// calmed wants the connection to have been ended with ENHANCE_YOUR_CALM.
func (f *front) calmed(t *testing.T) {
	t.Helper()
	f.calmedOr(t, false)
}

// calmedOr is calmed where well says that a connection may also have ended well: one that
// had no stream left when it had used up its budget.
func (f *front) calmedOr(t *testing.T, well bool) {
	t.Helper()
	var ce *ConnError
	if err := f.ended(t, 1)[0]; (err != nil || !well) && (!errors.As(err, &ce) || ce.Code != codeCalm) {
		t.Errorf("ended with %v", err)
	}
}

func TestServer_EndsFloods(t *testing.T) {
	for name, attack := range map[string]func(c *rawClient, i int) error{
		"ping":             func(c *rawClient, i int) error { return c.WritePing(false, [8]byte{}) },
		"ping answers":     func(c *rawClient, i int) error { return c.WritePing(true, [8]byte{}) },
		"settings":         func(c *rawClient, i int) error { return c.WriteSettings() },
		"settings answers": func(c *rawClient, i int) error { return c.WriteSettingsAck() },
		"priority": func(c *rawClient, i int) error {
			return c.WritePriority(uint32(2*i+1), http2.PriorityParam{Weight: 1})
		},
		"unknown frames":       func(c *rawClient, i int) error { return c.WriteRawFrame(0xee, 0, 0, nil) },
		"small window updates": func(c *rawClient, i int) error { return c.WriteWindowUpdate(0, 1) },
		"empty data": func(c *rawClient, i int) error {
			if i == 0 {
				c.request(1, false, ":method: POST", ":scheme: http", ":path: /", ":authority: a")
			}
			return c.WriteData(1, false, nil)
		},
		"padding": func(c *rawClient, i int) error {
			if i == 0 {
				c.request(1, false, ":method: POST", ":scheme: http", ":path: /", ":authority: a")
			}
			return c.WriteDataPadded(1, false, nil, make([]byte, 10))
		},
		"empty continuations": func(c *rawClient, i int) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: section(plain...)})
			}
			return c.WriteContinuation(1, false, nil)
		},
		"endless continuations": func(c *rawClient, i int) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: section(plain...)})
			}
			return c.WriteContinuation(1, false, section("x: "+strings.Repeat("y", 8000)))
		},
		"rapid reset": func(c *rawClient, i int) error {
			c.request(uint32(2*i+1), true, plain...)
			return c.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		},
		"made to reset by a window": func(c *rawClient, i int) error {
			c.request(uint32(2*i+1), true, plain...)
			return c.WriteWindowUpdate(uint32(2*i+1), 0)
		},
		"made to reset by data": func(c *rawClient, i int) error {
			c.request(uint32(2*i+1), true, plain...)
			return c.WriteData(uint32(2*i+1), true, []byte("x"))
		},
		"malformed requests": func(c *rawClient, i int) error {
			c.request(uint32(2*i+1), true, ":method: GET")
			return nil
		},
		"refused streams": func(c *rawClient, i int) error {
			c.request(uint32(2*i+1), false, plain...)
			return nil
		},
		"resets of nothing": func(c *rawClient, i int) error {
			if i == 0 {
				c.request(1, true, plain...)
			}
			return c.WriteRSTStream(1, http2.ErrCodeCancel)
		},
		"data for nothing": func(c *rawClient, i int) error {
			if i == 0 {
				c.request(1, true, plain...)
				c.WriteRSTStream(1, http2.ErrCodeCancel)
			}
			return c.WriteData(1, false, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var most, now atomic.Int32
			f := serve(t, Config{MaxStreams: 10}, func(e message.Exchange) {
				gone := make(chan struct{})
				e.OnGone(func() { close(gone) })
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				defer now.Add(-1)
				<-gone
			})
			c := f.dial(t)
			go io.Copy(io.Discard, c.nc)
			for i := 0; i < 200_000; i++ {
				if attack(c, i) != nil {
					break
				}
				if i%1000 == 0 && f.over() {
					break
				}
			}
			f.calmedOr(t, strings.Contains(name, "reset") || name == "malformed requests")
			if most.Load() > 10 {
				t.Errorf("%d handlers at once", most.Load())
			}
		})
	}
}

func (f *front) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.errs) > 0
}

func TestServer_WindowThatOpensByteByByte(t *testing.T) {
	f := serve(t, Config{}, func(e message.Exchange) { answer(e, 200, strings.Repeat("x", 100_000)) })
	c := f.dial(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	go io.Copy(io.Discard, c.nc)
	c.request(1, true, plain...)
	for !f.over() && c.WriteWindowUpdate(1, 1) == nil {
	}
	f.calmed(t)
}

func TestServer_BoundsWhatWaitsInAStream(t *testing.T) {
	release := make(chan struct{})
	f := serve(t, Config{}, func(e message.Exchange) {
		<-release
		hello(e)
	})
	c := f.dial(t)
	const streams = 10
	for i := range streams {
		c.post(uint32(2*i+1), "/")
		c.body(uint32(2*i+1), streamWindow)
	}
	f.each(func(sc *ServerConn) {
		eventually(t, "all is there", func() bool { return sc.unread() == streams*streamWindow })
	})
	c.WriteData(1, true, []byte("one too many"))
	if reset := c.await(http2.FrameRSTStream).(*http2.RSTStreamFrame); reset.ErrCode != http2.ErrCodeFlowControl || reset.StreamID != 1 {
		t.Errorf("RST_STREAM of %d with %v", reset.StreamID, reset.ErrCode)
	}
	close(release)
}

func TestServer_BoundsWhatASlowReaderHolds(t *testing.T) {
	f := serve(t, Config{Write: 300 * time.Millisecond}, func(e message.Exchange) {
		if e.WriteHead(&message.Response{Status: 200, Length: message.Unknown}, false) != nil {
			return
		}
		for e.WriteBody(make([]byte, 64<<10), true) == nil {
		}
	})
	c := f.dial(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	c.WriteWindowUpdate(0, maxWindow-65535)
	for id := uint32(1); id < 200; id += 2 {
		c.request(id, true, plain...)
	}
	most := 0
	eventually(t, "the end of a client that reads nothing", func() bool {
		f.each(func(sc *ServerConn) {
			sc.mu.Lock()
			most = max(most, len(sc.out.pending))
			sc.mu.Unlock()
		})
		return f.over()
	})
	if most > 2*maxPending {
		t.Errorf("%d bytes pending", most)
	}
	var timeout interface{ Timeout() bool }
	if err := f.ended(t, 1)[0]; !errors.As(err, &timeout) {
		t.Errorf("ended with %v", err)
	}
}

func TestServer_ClosedWindowTimesOut(t *testing.T) {
	failed := make(chan error, 1)
	f := serve(t, Config{Write: 100 * time.Millisecond}, func(e message.Exchange) {
		e.WriteHead(&message.Response{Status: 200, Length: 10}, false)
		failed <- e.WriteBody(make([]byte, 10), true)
	})
	c := f.dial(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	c.request(1, true, plain...)
	if err := <-failed; !errors.Is(err, errWriteSlow) {
		t.Error(err)
	}
	c.await(http2.FrameRSTStream)
}

func TestServer_SlowBodyTimesOutAndCanBeAnswered(t *testing.T) {
	f := serve(t, Config{Read: 100 * time.Millisecond}, func(e message.Exchange) {
		_, err := io.ReadAll(e.Body())
		if !errors.Is(err, errReadSlow) {
			t.Error(err)
		}
		answer(e, 408, "slow")
	})
	c := f.dial(t)
	c.request(1, false, ":method: POST", ":scheme: http", ":path: /", ":authority: a")
	c.WriteData(1, false, []byte("some"))
	c.await(http2.FrameHeaders)
	if rst := c.await(http2.FrameRSTStream).(*http2.RSTStreamFrame); rst.ErrCode != http2.ErrCodeNo {
		t.Errorf("reset with %v", rst.ErrCode)
	}
}

func TestServer_TimesOut(t *testing.T) {
	short := 50 * time.Millisecond
	preface := http2.ClientPreface
	settings := string(appendSettings(nil))
	begun := string(frame{length: 100, kind: http2.FrameHeaders, id: 1}.append(nil))
	open := string(frame{length: 1, kind: http2.FrameHeaders, id: 1}.append(nil)) + "\x82"
	for name, tc := range map[string]struct {
		cfg  Config
		sent string
		code http2.ErrCode
	}{
		"no preface":           {Config{Header: short}, "", http2.ErrCodeSettingsTimeout},
		"no settings":          {Config{Header: short}, preface, http2.ErrCodeSettingsTimeout},
		"settings unanswered":  {Config{Header: short}, preface + settings, http2.ErrCodeSettingsTimeout},
		"half a frame":         {Config{Header: short}, preface + settings + string(appendSettingsAck(nil)) + begun, codeCalm},
		"half a field section": {Config{Header: short}, preface + settings + string(appendSettingsAck(nil)) + open, codeCalm},
		"idle":                 {Config{Idle: short}, preface + settings + string(appendSettingsAck(nil)), http2.ErrCodeNo},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, tc.cfg, hello)
			nc, err := net.Dial("tcp", f.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			io.WriteString(nc, tc.sent)
			c := &rawClient{http2.NewFramer(nc, nc), nc, t}
			if away := c.await(http2.FrameGoAway).(*http2.GoAwayFrame); away.ErrCode != tc.code {
				t.Errorf("GOAWAY with %v", away.ErrCode)
			}
		})
	}
}

func TestServer_WorkersAndBuffersLeaveAnIdleConnection(t *testing.T) {
	f := serve(t, Config{}, hello)
	tr := transport(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { get(t, tr, request(t, "POST", f.url("/"), bytes.NewReader(make([]byte, 50_000)))) })
	}
	wg.Wait()
	f.each(func(c *ServerConn) {
		eventually(t, "an idle connection without buffers", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.workers.n == 0 && c.out.pending == nil && len(c.streams) == 0
		})
	})
}

func TestServer_WorkersAreUsedAgain(t *testing.T) {
	var served atomic.Int32
	f := serve(t, Config{}, func(e message.Exchange) {
		hello(e)
		served.Add(1)
	})
	c := f.dial(t)
	go io.Copy(io.Discard, c.nc)
	block := section(plain...)
	id := uint32(1)
	run := func(n int32) {
		for want := served.Load() + n; served.Load() < want; id += 2 {
			before := served.Load()
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true})
			eventually(t, "an answer", func() bool { return served.Load() > before })
		}
	}
	run(10)
	before := runtime.NumGoroutine()
	run(200)
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines, then %d", before, after)
	}
}

func TestServer_EndsSectionsThatLiveOffTheTable(t *testing.T) {
	f := serve(t, Config{}, hello)
	c := f.dial(t)
	go io.Copy(io.Discard, c.nc)
	// One cookie of 3,900 bytes is put into the table, and named often.
	crumb := append(appendInt(nil, 0x40, 6, 32), appendInt(nil, 0, 7, 3900)...)
	crumb = append(crumb, bytes.Repeat([]byte{'c'}, 3900)...)
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append(section(plain...), crumb...), EndHeaders: true, EndStream: true})
	bomb := append(section(plain...), bytes.Repeat([]byte{0x80 | 62}, 15)...)
	for id := uint32(3); !f.over(); id += 2 {
		if c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: bomb, EndHeaders: true, EndStream: true}) != nil {
			break
		}
	}
	f.calmed(t)
}

func TestServer_BoundsJoinedCookies(t *testing.T) {
	release := make(chan struct{})
	var most atomic.Int64
	f := serve(t, Config{}, func(e message.Exchange) {
		<-release
		hello(e)
	})
	c := f.dial(t)
	crumb := "cookie: " + strings.Repeat("c", 7000)
	for id := uint32(1); id < 200; id += 2 {
		c.request(id, true, with(crumb, crumb)...)
	}
	c.WritePing(false, [8]byte{})
	c.await(http2.FramePing)
	f.each(func(sc *ServerConn) {
		sc.mu.Lock()
		defer sc.mu.Unlock()
		most.Store(int64(sc.joined))
	})
	if n := most.Load(); n == 0 || n > maxJoined {
		t.Errorf("%d bytes of cookies", n)
	}
	close(release)
	f.each(func(sc *ServerConn) {
		eventually(t, "cookies to be let go", func() bool {
			sc.mu.Lock()
			defer sc.mu.Unlock()
			return sc.joined == 0
		})
	})
}

// TestServer_WorkerOnItsWayOutIsNotWaitedFor: a stream that came while the last
// worker left would have been queued for nobody.
func TestServer_WorkerOnItsWayOutIsNotWaitedFor(t *testing.T) {
	f := serve(t, Config{MaxStreams: 1}, hello)
	c := f.dial(t)
	for id := uint32(1); id < 100; id += 2 {
		c.request(id, true, plain...)
		c.await(http2.FrameData)
		f.each(func(sc *ServerConn) {
			eventually(t, "an idle worker", func() bool {
				sc.mu.Lock()
				defer sc.mu.Unlock()
				idle := len(sc.workers.idle)
				sc.workers.trim(never)
				if idle > 0 && sc.workers.n > 0 {
					t.Fatalf("%d workers on their way out", sc.workers.n)
				}
				return idle > 0
			})
		})
	}
}

func TestServer_TunnelMayBeSilent(t *testing.T) {
	f := serve(t, Config{Read: 50 * time.Millisecond}, func(e message.Exchange) {
		if e.Request().Protocol != nil {
			echo(e)
			return
		}
		if _, err := io.ReadAll(e.Body()); errors.Is(err, errReadSlow) {
			answer(e, 408, "")
		}
	})
	c := f.dial(t)
	c.request(1, false, with(":method: CONNECT", ":protocol: websocket")...)
	c.await(http2.FrameHeaders)
	c.request(3, false, with(":method: POST")...)
	c.await(http2.FrameHeaders) // this one's time is over
	c.WriteData(1, true, []byte("word"))
	for {
		if d := c.await(http2.FrameData).(*http2.DataFrame); d.StreamID == 1 {
			if string(d.Data()) != "word" {
				t.Errorf("%q", d.Data())
			}
			return
		}
	}
}

func TestServer_MayBeDrainedBeforeItRuns(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	sc := NewServerConn(theirs, Config{}, hello)
	sc.Shutdown()
	ran := make(chan error)
	go func() { ran <- sc.Run() }()
	go func() {
		io.WriteString(ours, http2.ClientPreface)
		ours.Write(appendSettings(nil))
	}()
	c := &rawClient{http2.NewFramer(ours, ours), ours, t}
	c.await(http2.FrameSettings)
	c.await(http2.FrameGoAway)
	ours.Close()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
