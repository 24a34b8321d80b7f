package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framer is one connection of a backend whose frames are written by hand.
type framer struct {
	t testing.TB
	*http2.Framer
	number int // of the connection, from 1
}

// frameBackend starts a backend that gives each connection to serve, with the
// settings exchanged.
func frameBackend(t testing.TB, serve func(framer), settings ...http2.Setting) string {
	var n atomic.Int64
	return rawBackend(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := io.ReadFull(r, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		h := framer{t, http2.NewFramer(c, r), int(n.Add(1))}
		h.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		h.WriteSettings(settings...)
		serve(h)
	})
}

// next returns the next frame of a kind that matters; nil at the connection's end.
func (h framer) next() http2.Frame {
	for {
		f, err := h.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				h.WriteSettingsAck()
			}
		case *http2.WindowUpdateFrame, *http2.PriorityFrame:
		default:
			return f
		}
	}
}

// request waits for the head of the next request and returns its stream; 0 at the
// connection's end.
func (h framer) request() uint32 {
	for {
		switch f := h.next().(type) {
		case nil:
			return 0
		case *http2.MetaHeadersFrame:
			return f.StreamID
		}
	}
}

// answer sends a head, and a body if there is one.
func (h framer) answer(id uint32, status int, body string) {
	var block bytes.Buffer
	hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: fmt.Sprint(status)})
	h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == ""})
	if body != "" {
		h.WriteData(id, true, []byte(body))
	}
}

// answerAll answers what comes until the connection ends.
func (h framer) answerAll() {
	for id := h.request(); id != 0; id = h.request() {
		h.answer(id, 200, fmt.Sprint("connection ", h.number))
	}
}

// hang reads until the connection ends.
func (h framer) hang() {
	for h.next() != nil {
	}
}

func TestH2C_CarriesWhatHTTPHas(t *testing.T) {
	pool, b := h2cPool(t, h2cBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/304" {
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusCreated)
		if r.URL.Path != "/length" {
			w.(http.Flusher).Flush()
		}
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n, r.Trailer.Get("X-Said")))
	}))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		for _, size := range []int64{0, 1, 10_000, 3 << 20} {
			r, _ := http.NewRequest("POST", base+"/", io.NopCloser(zeroes(size)))
			r.Header.Set("Te", "trailers")
			r.Trailer = http.Header{"X-Said": {"!"}}
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body := text(t, res)
			if res.StatusCode != 201 || int64(len(body)) != size || res.Header.Get("X-Proto") != "HTTP/2.0" || res.Trailer.Get("X-Sum") != fmt.Sprint(size, "!") {
				t.Errorf("%d bytes: %d, %d bytes, %v, trailers %v", size, res.StatusCode, len(body), res.Header, res.Trailer)
			}
			b.next()
		}
		for _, tc := range [][2]string{{"HEAD", "/"}, {"GET", "/304"}, {"GET", "/length"}} {
			r, _ := http.NewRequest(tc[0], base+tc[1], nil)
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if body := text(t, res); body != "" || res.StatusCode != 201 && res.StatusCode != 304 {
				t.Errorf("%s %s: %d %q", tc[0], tc[1], res.StatusCode, body)
			}
			b.next()
		}
	})
}

func TestH2C_RequestsShareConnections(t *testing.T) {
	const calls = 5
	var all sync.WaitGroup
	all.Add(calls)
	var conns sync.Map
	pool, _ := h2cPool(t, h2cBackend(t, func(w http.ResponseWriter, r *http.Request) {
		conns.Store(r.RemoteAddr, true)
		all.Done()
		all.Wait() // all of them at once
	}))
	f := serve(t, pool)
	var got []<-chan result
	for range calls {
		got = append(got, f.get("h2"))
	}
	for _, ch := range got {
		if r := await(t, "an answer", ch); r.err != nil {
			t.Error(r.err)
		}
	}
	n := 0
	conns.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestH2C_ConnectionsAreMadeAsRoomIsWanted has a backend that takes one request
// at a time on a connection.
func TestH2C_ConnectionsAreMadeAsRoomIsWanted(t *testing.T) {
	let := make(chan struct{})
	arrived := make(chan struct{}, 10)
	pool, b := h2cPool(t, frameBackend(t, func(h framer) {
		for id := h.request(); id != 0; id = h.request() {
			arrived <- struct{}{}
			<-let
			h.answer(id, 200, "x")
		}
	}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}))
	f := serve(t, pool)
	var got []<-chan result
	for range 3 {
		got = append(got, f.get("h1"))
	}
	for range got {
		await(t, "a request", arrived)
	}
	close(let)
	for _, ch := range got {
		if r := await(t, "an answer", ch); r.err != nil || r.body != "x" {
			t.Errorf("%+v", r)
		}
		b.next()
	}
}

func TestH2C_BackendThatSpeaksOtherwiseIsNotReached(t *testing.T) {
	for name, tc := range map[string]struct {
		serve   func(net.Conn)
		timeout time.Duration
		status  int
	}{
		"HTTP/1.1": {func(c net.Conn) {
			bufio.NewReader(c).ReadString('\n')
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
		}, patience, 502},
		"nothing": {func(c net.Conn) { io.Copy(io.Discard, c) }, short, 504},
		"no more": {func(net.Conn) {}, patience, 502},
	} {
		t.Run(name, func(t *testing.T) {
			bad := rawBackend(t, tc.serve)
			pool, b := h2cPool(t, bad)
			pool.ConnectTimeout = tc.timeout
			f := serve(t, pool)
			r := await(t, "an answer", f.get("h1"))
			if r.err != nil || !strings.HasPrefix(r.body, fmt.Sprint(tc.status)) {
				t.Errorf("%+v", r)
			}
			if r := b.next(); !isDial(r.err) {
				t.Errorf("released with %v", r.err)
			}
			// A request that was not sent goes to the next one.
			pool, b = h2cPool(t, bad, h2cBackend(t, echo))
			pool.ConnectTimeout = tc.timeout
			f = serve(t, pool)
			res, err := f.client("h2").Post(base+"/", "text/plain", io.NopCloser(strings.NewReader("once")))
			if err != nil {
				t.Fatal(err)
			}
			if body := text(t, res); body != "once" {
				t.Errorf("%d %q", res.StatusCode, body)
			}
			b.next()
			b.next()
		})
	}
}

func TestH2C_NoConnectionIsNotWaitedForLongerThanTheClientDoes(t *testing.T) {
	pool, b := h2cPool(t, rawBackend(t, func(c net.Conn) { io.Copy(io.Discard, c) }))
	pool.ConnectTimeout = time.Hour
	leaveWhileConnecting(t, pool, b)
}

func TestH2C_NoAnswerInTimeIs504(t *testing.T) {
	reset := make(chan http2.ErrCode, 10)
	pool, b := h2cPool(t, frameBackend(t, func(h framer) {
		if h.number > 1 {
			h.answerAll()
			return
		}
		for {
			switch f := h.next().(type) {
			case nil:
				return
			case *http2.RSTStreamFrame:
				reset <- f.ErrCode
			}
		}
	}))
	pool.ResponseTimeout = short
	f := serve(t, pool)
	for _, body := range []io.Reader{nil, strings.NewReader("small"), io.NopCloser(zeroes(10))} {
		res, err := f.client("h2").Post(base+"/", "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		got := text(t, res)
		if body == nil {
			if res.StatusCode != 504 {
				t.Errorf("%d", res.StatusCode)
			}
			if r := b.next(); !errors.Is(r.err, errResponseSlow) {
				t.Errorf("released with %v", r.err)
			}
			if code := await(t, "the reset", reset); code != http2.ErrCodeCancel {
				t.Errorf("reset with %v", code)
			}
			continue
		}
		// The connection that may hang is not used again.
		if got != "connection 2" {
			t.Errorf("%d %q", res.StatusCode, got)
		}
		b.next()
	}
}

func TestH2C_BackendSilentWithinAnAnswer(t *testing.T) {
	pool, b := h2cPool(t, h2cBackend(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	pool.SilenceTimeout = short
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		if r := await(t, "the end", f.get(protocol)); r.err == nil {
			t.Errorf("a whole answer: %q", r.body)
		}
		if r := b.next(); !errors.Is(r.err, errBackendSilent) {
			t.Errorf("released with %v", r.err)
		}
	})
}

// TestH2C_ClientThatLeavesCancelsTheCall has a client of HTTP/1.1 too, whose leaving
// has to be looked for.
func TestH2C_ClientThatLeavesCancelsTheCall(t *testing.T) {
	arrived := make(chan struct{}, 1)
	reset := make(chan http2.ErrCode, 1)
	pool, b := h2cPool(t, frameBackend(t, func(h framer) {
		for {
			switch f := h.next().(type) {
			case nil:
				return
			case *http2.MetaHeadersFrame:
				arrived <- struct{}{}
			case *http2.RSTStreamFrame:
				reset <- f.ErrCode
			}
		}
	}))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "GET", base+"/", nil)
		done := make(chan struct{})
		go func() { defer close(done); f.client(protocol).Do(r) }()
		await(t, "the request", arrived)
		cancel()
		await(t, "the client's end", done)
		if code := await(t, "the reset", reset); code != http2.ErrCodeCancel {
			t.Errorf("reset with %v", code)
		}
		if r := b.next(); r.blamed() {
			t.Errorf("the backend was blamed: %v", r.err)
		}
	})
}

// TestH2C_WhatWasNotProcessedIsMadeAgain has a backend that refuses, or goes
// away before, the first request on its first connection.
func TestH2C_WhatWasNotProcessedIsMadeAgain(t *testing.T) {
	for name, refuse := range map[string]func(framer, uint32){
		"refused":   func(h framer, id uint32) { h.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"goes away": func(h framer, id uint32) { h.WriteGoAway(0, http2.ErrCodeNo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			var once atomic.Bool
			pool, b := h2cPool(t, frameBackend(t, func(h framer) {
				id := h.request()
				if once.CompareAndSwap(false, true) {
					refuse(h, id)
				} else {
					h.answer(id, 200, "done")
				}
				h.answerAll()
			}))
			f := serve(t, pool)
			// POST: it may be made again only since nothing of it was processed.
			res, err := f.client("h1").Post(base+"/", "text/plain", strings.NewReader("pay once"))
			if err != nil {
				t.Fatal(err)
			}
			if body := text(t, res); res.StatusCode != 200 {
				t.Errorf("%d %q", res.StatusCode, body)
			}
			if r := b.next(); r.err != nil {
				t.Errorf("released with %v", r.err)
			}
		})
	}
}

func TestH2C_BackendThatRefusesAllIsFollowedByTheNext(t *testing.T) {
	pool, b := h2cPool(t, frameBackend(t, func(h framer) {
		for id := h.request(); id != 0; id = h.request() {
			h.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		}
	}), h2cBackend(t, echo))
	f := serve(t, pool)
	res, err := f.client("h1").Post(base+"/", "text/plain", strings.NewReader("pay once"))
	if err != nil {
		t.Fatal(err)
	}
	if body := text(t, res); body != "pay once" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if r := b.next(); r.err == nil {
		t.Error("the first was not blamed")
	}
	if r := b.next(); r.err != nil {
		t.Errorf("released with %v", r.err)
	}
}

// TestH2C_ResetsGoOn has clients of HTTP/2 see the code by which a backend has ended
// the call: before the answer where they take trailers, as gRPC's do, and within it always.
func TestH2C_ResetsGoOn(t *testing.T) {
	let := make(chan struct{}, 10)
	pool, b := h2cPool(t, frameBackend(t, func(h framer) {
		for {
			f, ok := h.next().(*http2.MetaHeadersFrame)
			if !ok {
				return
			}
			if f.PseudoValue("path") == "/within" {
				var block bytes.Buffer
				hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
				h.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: block.Bytes(), EndHeaders: true})
				h.WriteData(f.StreamID, false, []byte("half"))
				<-let
			}
			h.WriteRSTStream(f.StreamID, http2.ErrCodeEnhanceYourCalm)
		}
	}))
	f := serve(t, pool)
	c := f.client("h2")
	for _, tc := range []struct {
		path, te string
		reset    bool
	}{{"/within", "", true}, {"/before", "", false}, {"/before", "trailers", true}} {
		r, _ := http.NewRequest("GET", base+tc.path, nil)
		if tc.te != "" {
			r.Header.Set("Te", tc.te)
		}
		res, err := c.Do(r)
		if err == nil {
			let <- struct{}{} // the head is here
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if got := err != nil && strings.Contains(err.Error(), "ENHANCE_YOUR_CALM"); got != tc.reset || !tc.reset && res.StatusCode != 502 {
			t.Errorf("%+v: %v", tc, err)
		}
		if r := b.next(); r.err == nil {
			t.Errorf("%+v: the backend was not blamed", tc)
		}
	}
}

func TestH2C_ConnectionThatDiedUnusedIsNoAnswer(t *testing.T) {
	// The backend closes each connection as soon as a second request comes.
	pool, b := h2cPool(t, frameBackend(t, func(h framer) {
		h.answer(h.request(), 200, "x")
		h.request()
	}))
	f := serve(t, pool)
	c := f.client("h1")
	for range 5 {
		res, err := c.Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		if body := text(t, res); body != "x" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
		b.next()
	}
}

func TestH2C_IdleConnectionsAreClosed(t *testing.T) {
	ended := make(chan struct{}, 10)
	pool, b := h2cPool(t, frameBackend(t, func(h framer) {
		h.answerAll()
		ended <- struct{}{}
	}))
	pool.IdleTimeout = short
	f := serve(t, pool)
	if r := await(t, "an answer", f.get("h1")); r.err != nil {
		t.Fatal(r.err)
	}
	b.next()
	await(t, "the connection's end", ended)
	if r := await(t, "an answer", f.get("h1")); r.body != "connection 2" {
		t.Errorf("%+v", r)
	}
}

func TestH2C_DrainFinishesWhatIsUnderWay(t *testing.T) {
	arrived, let := make(chan struct{}, 1), make(chan struct{})
	pool, _ := h2cPool(t, h2cBackend(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-let
		io.WriteString(w, "done")
	}))
	f := serve(t, pool)
	got := f.get("h2")
	await(t, "a request", arrived)
	f.stop()
	f.log.until(t, "draining")
	close(let)
	if r := await(t, "the answer", got); r.err != nil || r.body != "done" {
		t.Errorf("%+v", r)
	}
	f.wait()
}

func TestH2C_DrainCutsWhatTakesTooLong(t *testing.T) {
	arrived := make(chan struct{}, 1)
	pool, b := h2cPool(t, frameBackend(t, func(h framer) {
		h.request()
		arrived <- struct{}{}
		h.hang()
	}))
	f := serve(t, pool, func(c *Config) { c.ShutdownTimeout = short })
	got := f.get("h2")
	await(t, "a request", arrived)
	f.stop()
	await(t, "the client's end", got)
	f.wait()
	if r := b.next(); r.blamed() {
		t.Errorf("the backend was blamed: %v", r.err)
	}
}

// A backend's connection window belongs to all its streams. Where one upload that it does
// not read has used it up, others get a connection of their own.
func TestH2C_AnUploadThatABackendDoesNotReadHoldsUpNoOther(t *testing.T) {
	const window = 65535 // of a connection, which is not opened for what is not read
	var mu sync.Mutex
	slow, unread := map[int]int{}, map[int]int{} // requests and bytes, by connection
	pool, _ := h2cPool(t, frameBackend(t, func(h framer) {
		isSlow := map[uint32]bool{}
		for {
			switch f := h.next().(type) {
			case nil:
				return
			case *http2.MetaHeadersFrame:
				if isSlow[f.StreamID] = f.PseudoValue("path") == "/slow"; isSlow[f.StreamID] {
					mu.Lock()
					slow[h.number]++
					mu.Unlock()
				}
			case *http2.DataFrame:
				n := len(f.Data())
				if isSlow[f.StreamID] {
					mu.Lock()
					unread[h.number] += n
					mu.Unlock()
					continue
				}
				if n > 0 {
					h.WriteWindowUpdate(0, uint32(n))
					h.WriteWindowUpdate(f.StreamID, uint32(n))
				}
				if f.StreamEnded() {
					h.answer(f.StreamID, 200, "")
				}
			}
		}
	}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}))
	f := serve(t, pool)
	c := f.client("h2")
	usedUp := func() bool {
		mu.Lock()
		defer mu.Unlock()
		all := 0
		for conn, n := range slow {
			if all += n; unread[conn] < window {
				return false
			}
		}
		return all == 3
	}
	ctx, cancel := context.WithCancel(t.Context())
	var uploads sync.WaitGroup
	defer uploads.Wait()
	defer cancel()
	for range 3 { // each of which is more than a connection takes
		uploads.Go(func() {
			r, _ := http.NewRequestWithContext(ctx, "POST", base+"/slow", zeroes(8<<20))
			if res, err := c.Do(r); err == nil {
				res.Body.Close()
			}
		})
	}
	eventually(t, "connections whose windows are used up", usedUp)
	for range 4 {
		res, err := c.Post(base+"/", "", zeroes(4<<20))
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
	}
}

// A client that does not read its response takes nothing from others.
func TestH2C_AResponseThatIsNotReadHoldsUpNoOther(t *testing.T) {
	pool, _ := h2cPool(t, h2cBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			io.Copy(w, zeroes(64<<20))
		}
	}))
	f := serve(t, pool)
	for range 6 { // whose windows are more than the connection's was
		f.dial(www).send("GET /large HTTP/1.1\nHost: " + www + "\n\n")
	}
	eventually(t, "downloads that stand still", func() bool { return f.server.requests.count() == 6 })
	c := f.client("h2")
	for range 20 {
		res, err := c.Get(base + "/")
		if err != nil {
			t.Fatal(err)
		}
		text(t, res)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
