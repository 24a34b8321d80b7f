package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// assault is one attack. Its n is some for CI and many for the report; with none for
// CI, tests of the codecs count what it does, or another one holds the same
// (idle-h1: TestAdversaries_TenThousandIdle; h1-slow-large-bodies: the chunked ones;
// h1-held: h1-stalled and h2-held; h2-404: h2-404-long-path).
type assault struct {
	what       string
	some, many int
	run        func(*adversary) error
}

// sieges hold what the server has, floods have it work.
var sieges, floods map[string]assault

// gatherAssaults makes them, which takes its time: not for each sallyport that a story
// starts.
func gatherAssaults() {
	// By as little as can be.
	sieges = map[string]assault{
		"connect":            {"TCP connections without a byte", 200, 3000, connectOnly},
		"handshake-halted":   {"a ClientHello each, and nothing more", 150, 2000, halted},
		"handshake-trickled": {"a ClientHello each, byte by byte in 16 records", 0, 1000, trickledHello},
		"idle-h1":            {"connections that idle after a request", 0, 5000, idle("http/1.1", script(h1get("/hello")))},
		"idle-h2":            {"connections that idle after SETTINGS", 0, 5000, idle("h2", h2script(func(*h2) {}))},

		"h1-slow-heads":          {"heads that do not end", 150, 2000, idle("http/1.1", script("GET /hello HTTP/1.1\r\nHost: ec.sallyport.test\r\nX: y"))},
		"h1-slow-large-heads":    {"heads of 4.1 KB that do not end", 0, 1000, idle("http/1.1", script("GET /hello HTTP/1.1\r\nHost: ec.sallyport.test\r\nX: "+strings.Repeat("y", 4200)))},
		"h1-slow-small-bodies":   {"bodies of 16000 bytes of which one comes", 150, 2000, idle("http/1.1", script(h1post("Content-Length: 16000")+"x"))},
		"h1-slow-large-bodies":   {"bodies of 1 MB of which one byte comes", 0, 2000, idle("http/1.1", script(h1post("Content-Length: 1000000")+"x"))},
		"h1-slow-chunked-bodies": {"chunked bodies of which one byte comes", 150, 2000, idle("http/1.1", script(h1post("Transfer-Encoding: chunked")+"1\r\nx\r\n"))},
		"h1-expect":              {"100 (Continue) asked for, and nothing sent", 0, 2000, idle("http/1.1", script(h1post("Content-Length: 1000000\r\nExpect: 100-continue")))},
		"h1-slow-readers":        {"large answers that are not read", 150, 2000, idle("http/1.1", script(h1get("/source?n=2000000")))},
		"h1-held":                {"requests whose backend keeps silent", 0, 2000, idle("http/1.1", script(h1get("/never")))},
		"h1-stalled":             {"answers that begin and do not go on", 150, 2000, idle("http/1.1", script(h1get("/stall")))},
		"websocket-idle":         {"WebSocket tunnels that idle", 150, 2000, idle("http/1.1", script(webSocketUpgrade))},

		"h2-held":              {"100 streams each, whose backend keeps silent", 100, 150, idle("h2", h2script(requests("GET", "/never", 100, true)))},
		"h2-slow-readers":      {"100 large answers each, into windows of nothing", 100, 150, idle("h2", h2window(0, requests("GET", "/source?n=2000000", 100, true)))},
		"h2-unread-one":        {"a large answer each, into an open window, that is not read", 150, 1000, idle("h2", h2script(requests("GET", "/source?n=2000000", 1, true)))},
		"h2-unread":            {"100 large answers each, into open windows, that are not read", 100, 150, idle("h2", h2script(requests("GET", "/source?n=2000000", 100, true)))},
		"h2-stalled":           {"100 answers each that begin and do not go on", 100, 150, idle("h2", h2script(requests("GET", "/stall", 100, true)))},
		"h2-slow-small-bodies": {"100 bodies of 16000 bytes each, of which none comes", 100, 150, idle("h2", h2script(requests("POST", "/sink", 100, false, "content-length", "16000")))},
		"h2-slow-bodies":       {"100 bodies each, of which one byte comes", 100, 150, idle("h2", h2script(slowStreams))},
	}

	floods = map[string]assault{
		"handshake-storm":  {"a ClientHello each, the connection closed on its answer", 150, 3000, storm},
		"tls-tiny-records": {"a body in records of one byte", 20_000, 300_000, tinyRecords},
		"tls-key-updates":  {"TLS KeyUpdates that want one back", 2000, 50_000, keyUpdates},

		"h1-pipelined":         {"pipelined requests", 3000, 50_000, pipelined(h1get("/hello"), 100)},
		"h1-pipelined-404":     {"pipelined requests without a route", 3000, 100_000, pipelined(h1get("/nowhere"), 100)},
		"h1-pipelined-head":    {"pipelined HEAD", 0, 50_000, pipelined(h1("HEAD", "/hello"), 100)},
		"h1-pipelined-options": {"pipelined OPTIONS *", 3000, 50_000, pipelined(h1("OPTIONS", "*"), 50)},
		"h1-421":               {"pipelined requests for another site", 3000, 100_000, pipelined("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 100)},
		"h1-400":               {"connections that send garbage", 150, 2000, refused("\r\r\r\r")},
		"h1-many-fields":       {"heads of 100 fields with long names", 0, 2000, pipelined(manyFields(), 100)},
		"h1-tiny-chunks":       {"chunks of one byte", 0, 1_000_000, chunked("1\r\nx\r\n")},
		"h1-chunk-extensions":  {"chunk extensions to their bound", 50, 1000, chunkExtensions},

		"h2-requests":         {"100 requests at a time", 3000, 100_000, batches("/hello", 100, 100)},
		"h2-404":              {"100 requests at a time without a route", 0, 200_000, batches("/nowhere", 100, 80)},
		"h2-404-long-path":    {"100 requests at a time, of a path of 3.9 KB by its index", 3000, 50_000, batches("/"+strings.Repeat("%41", 1300), 100, 80)},
		"h2-one-byte-bodies":  {"100 requests at a time with a byte each", 1000, 50_000, bodies},
		"h2-rapid-reset":      {"requests that are reset at once", 5, 200, flood(repeated(3000, func(b *h2, i uint32) { b.request("GET", "/hello", true); b.f.WriteRSTStream(b.id, http2.ErrCodeCancel) }))},
		"h2-made-you-reset":   {"requests with a fault that has them reset", 0, 200, flood(repeated(3000, func(b *h2, i uint32) { b.request("GET", "/hello", true); b.f.WriteWindowUpdate(b.id, 0) }))},
		"h2-malformed":        {"requests that are malformed", 0, 200, flood(repeated(3000, func(b *h2, i uint32) { b.fields(true, ":method", "GET") }))},
		"h2-continuation":     {"a field section without an end", 0, 500, flood(continuation)},
		"h2-hpack-bomb":       {"field sections of 15 fields of 4 KB by their index", 5, 200, flood(bomb)},
		"h2-cookie-crumbs":    {"100 cookie crumbs of 600 bytes by their index", 5, 200, flood(crumbs)},
		"h2-settings":         {"SETTINGS", 0, 200, flood(repeated(3000, func(b *h2, _ uint32) { b.f.WriteSettings() }))},
		"h2-settings-windows": {"SETTINGS that move the windows of 100 streams", 5, 200, flood(windows)},
		"h2-ping":             {"PING", 0, 200, flood(repeated(3000, func(b *h2, _ uint32) { b.f.WritePing(false, [8]byte{}) }))},
		"h2-priority":         {"PRIORITY", 0, 200, flood(repeated(3000, func(b *h2, i uint32) { b.f.WritePriority(2*i+1, http2.PriorityParam{Weight: 1}) }))},
		"h2-window-update":    {"WINDOW_UPDATE of one byte", 0, 200, flood(repeated(3000, func(b *h2, _ uint32) { b.f.WriteWindowUpdate(0, 1) }))},
		"h2-window-by-byte":   {"a large answer into a window that opens by a byte", 0, 200, flood(byByte)},
		"h2-empty-data":       {"DATA without data", 0, 200, flood(emptyData)},
	}
}

// assaultNamed finds either.
func assaultNamed(name string) assault {
	if a, ok := sieges[name]; ok {
		return a
	}
	return floods[name]
}

func script(text string) []byte { return []byte(text) }

func h1(method, target string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: ec.sallyport.test\r\n\r\n"
}

func h1get(target string) string { return h1("GET", target) }

func h1post(fields string) string {
	return "POST /sink HTTP/1.1\r\nHost: ec.sallyport.test\r\n" + fields + "\r\n\r\n"
}

const webSocketUpgrade = "GET /echo HTTP/1.1\r\nHost: ec.sallyport.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// connectOnly opens n connections.
func connectOnly(a *adversary) error {
	return each(a.n, func(int) error { _, err := a.dial(); return err })
}

// halted opens n connections with a ClientHello each.
func halted(a *adversary) error {
	hello := firstWords()
	return each(a.n, func(int) error {
		w, err := a.dial()
		if err == nil {
			_, err = w.Write(hello)
		}
		return err
	})
}

// storm is halted, but each connection is closed once the server has answered,
// and so has signed.
func storm(a *adversary) error {
	hello := firstWords()
	return each(a.n, func(int) error {
		w, err := a.dial()
		if err != nil {
			return err
		}
		defer w.Close()
		if _, err := w.Write(hello); err != nil {
			return err
		}
		_, _ = w.Read(make([]byte, 1)) // refused is answered, too
		return nil
	})
}

// trickledHello sends a ClientHello in many records.
func trickledHello(a *adversary) error {
	hello := firstWords()
	var cut []byte
	for body := hello[5:]; len(body) > 0; {
		n := min(16, len(body))
		cut = append(cut, hello[0], hello[1], hello[2], 0, byte(n))
		cut = append(cut, body[:n]...)
		body = body[n:]
	}
	return each(a.n, func(int) error {
		w, err := a.dial()
		if err == nil {
			_, err = w.Write(cut[:len(cut)-1])
		}
		return err
	})
}

// tinyRecords sends a body of n bytes, each in a record of its own.
func tinyRecords(a *adversary) error {
	t, err := a.shakeHands("http/1.1")
	if err != nil {
		return err
	}
	go t.drain()
	if err := t.script([]byte(h1post(fmt.Sprintf("Content-Length: %d", a.n)))); err != nil {
		return err
	}
	before := t.wire.got.Load()
	for range a.n {
		if _, err := t.Write([]byte{'x'}); err != nil {
			return err
		}
	}
	if err := t.wire.flush(); err != nil {
		return err
	}
	t.answered(before + 50)
	return nil
}

// idle opens n connections, sends the same on each, and leaves them so. Where its address
// has to give way, it is served no more; it goes on trying.
func idle(protocol string, send []byte) func(*adversary) error {
	return func(a *adversary) error {
		var served atomic.Int64
		return each(a.n, func(int) error {
			t, err := a.shakeHands(protocol)
			if err == nil {
				err = t.script(send)
			}
			if err == nil {
				served.Add(1)
				return nil
			}
			if served.Load() > 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
				return nil
			}
			return err
		})
	}
}

// pipelined sends a request n times, some dozens in one write.
func pipelined(request string, answer int64) func(*adversary) error {
	return func(a *adversary) error {
		const connections = 4
		batch := max(1, min(64, (16<<10)/len(request)))
		all := bytes.Repeat([]byte(request), batch)
		return each(connections, func(int) error {
			t, err := a.shakeHands("http/1.1")
			if err != nil {
				return err
			}
			go t.drain()
			for sent := 0; sent < a.n/connections; sent += batch {
				before := t.wire.got.Load()
				if err := t.script(all); err != nil {
					return err
				}
				if !t.answered(before + answer*int64(batch)) {
					return fmt.Errorf("%d bytes of answers after %d requests", t.wire.got.Load(), sent+batch)
				}
			}
			return nil
		})
	}
}

// refused makes n connections with a request that ends each.
func refused(request string) func(*adversary) error {
	return func(a *adversary) error {
		return each(a.n, func(int) error {
			t, err := a.shakeHands("http/1.1")
			if err != nil {
				return err
			}
			defer t.wire.Close()
			return t.script([]byte(request))
		})
	}
}

func manyFields() string {
	var b strings.Builder
	b.WriteString("GET /nowhere HTTP/1.1\r\nHost: ec.sallyport.test\r\n")
	for i := range 98 {
		fmt.Fprintf(&b, "%s%d: y\r\n", strings.Repeat("x", 600), i)
	}
	b.WriteString("\r\n")
	return b.String()
}

// chunked sends a body of n chunks.
func chunked(chunk string) func(*adversary) error {
	return func(a *adversary) error {
		t, err := a.shakeHands("http/1.1")
		if err != nil {
			return err
		}
		go t.drain()
		if err := t.script([]byte(h1post("Transfer-Encoding: chunked"))); err != nil {
			return err
		}
		some := bytes.Repeat([]byte(chunk), 2000)
		before := t.wire.got.Load()
		for sent := 0; sent < a.n; sent += 2000 {
			if err := t.script(some); err != nil {
				return err
			}
		}
		if err := t.script([]byte("0\r\n\r\n")); err != nil {
			return err
		}
		t.answered(before + 50)
		return nil
	}
}

// chunkExtensions makes n bodies with as many as are allowed.
func chunkExtensions(a *adversary) error {
	chunk := "1;" + strings.Repeat("e", 100) + "\r\nx\r\n"
	body := h1post("Transfer-Encoding: chunked") + strings.Repeat(chunk, 40) + "0\r\n\r\n"
	return pipelined(body, 100)(a)
}

// h2 writes the frames of a client.
type h2 struct {
	bytes.Buffer
	f       *http2.Framer
	section bytes.Buffer
	enc     *hpack.Encoder
	id      uint32 // of the last request
}

// h2script is what a client sends from its preface on.
func h2script(then func(*h2)) []byte { return h2window(1<<20, then) }

// h2window is h2script with the window that streams begin with.
func h2window(window uint32, then func(*h2)) []byte {
	b := newH2(window)
	then(b)
	return b.Bytes()
}

func newH2(window uint32) *h2 {
	b := new(h2)
	b.f = http2.NewFramer(b, nil)
	b.f.AllowIllegalWrites = true
	b.enc = hpack.NewEncoder(&b.section)
	b.WriteString(http2.ClientPreface)
	must(b.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}))
	must(b.f.WriteSettingsAck())
	must(b.f.WriteWindowUpdate(0, 1<<30))
	return b
}

func must(err error) {
	if err != nil {
		panic(err) // it is written to memory
	}
}

// fields begins the next stream.
func (b *h2) fields(end bool, pairs ...string) {
	if b.id == 0 {
		b.id = 1
	} else {
		b.id += 2
	}
	b.encode(pairs...)
	must(b.f.WriteHeaders(http2.HeadersFrameParam{StreamID: b.id, BlockFragment: b.section.Bytes(), EndStream: end, EndHeaders: true}))
}

func (b *h2) encode(pairs ...string) {
	b.section.Reset()
	for i := 0; i < len(pairs); i += 2 {
		must(b.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
}

func (b *h2) request(method, path string, end bool, more ...string) {
	b.fields(end, append([]string{":method", method, ":scheme", "https", ":path", path, ":authority", "ec.sallyport.test"}, more...)...)
}

// requests are n of them.
func requests(method, path string, n int, end bool, more ...string) func(*h2) {
	return func(b *h2) {
		for range n {
			b.request(method, path, end, more...)
		}
	}
}

func slowStreams(b *h2) {
	for range 100 {
		b.request("POST", "/sink", false)
		must(b.f.WriteData(b.id, false, []byte("x")))
	}
}

// repeated does the same n times.
func repeated(n int, do func(b *h2, i uint32)) func(*h2) {
	return func(b *h2) {
		for i := range n {
			do(b, uint32(i))
		}
	}
}

// flood sends the same on n connections, each until the server ends it or
// has got it all.
func flood(of func(*h2)) func(*adversary) error {
	send := h2script(of)
	return func(a *adversary) error {
		return each(a.n, func(int) error {
			t, err := a.shakeHands("h2")
			if err != nil {
				return err
			}
			defer t.wire.Close()
			done := make(chan struct{})
			go func() { t.drain(); close(done) }()
			if t.script(send) != nil {
				return nil // ended
			}
			select {
			case <-done:
			case <-time.After(50 * time.Millisecond): // it bears it
			}
			return nil
		})
	}
}

func continuation(b *h2) {
	b.encode(":method", "GET", ":scheme", "https", ":path", "/hello", ":authority", "ec.sallyport.test")
	must(b.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.section.Bytes()}))
	for range 3000 {
		must(b.f.WriteContinuation(1, false, []byte{0x88 /* :status 200, of the static table */}))
	}
}

// bomb puts a field into the dynamic table that all later ones refer to.
func bomb(b *h2) {
	value := strings.Repeat("v", 3900)
	more := make([]string, 0, 30)
	for range 15 {
		more = append(more, "x", value)
	}
	requests("GET", "/hello", 3000, true, more...)(b)
}

func crumbs(b *h2) {
	crumb := strings.Repeat("c", 580)
	more := make([]string, 0, 200)
	for range 100 {
		more = append(more, "cookie", crumb)
	}
	requests("GET", "/hello", 1000, true, more...)(b)
}

func windows(b *h2) {
	requests("GET", "/never", 100, true)(b)
	for i := range 3000 {
		must(b.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(1<<20 + i%2)}))
	}
}

func byByte(b *h2) {
	must(b.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}))
	b.request("GET", "/source?n=100000", true)
	for range 3000 {
		must(b.f.WriteWindowUpdate(1, 1))
	}
}

func emptyData(b *h2) {
	b.request("POST", "/sink", false)
	for range 3000 {
		must(b.f.WriteData(1, false, nil))
	}
}

// batches makes n requests on a few connections, so many at a time, and waits for the
// answers of each batch, of which it knows about how many bytes they have.
func batches(path string, size int, answer int64) func(*adversary) error {
	return batchesOf(size, answer, func(b *h2) { requests("GET", path, size, true)(b) })
}

func bodies(a *adversary) error {
	return batchesOf(100, 80, func(b *h2) {
		for range 100 {
			b.request("POST", "/sink", false)
			must(b.f.WriteData(b.id, true, []byte("x")))
		}
	})(a)
}

func batchesOf(size int, answer int64, of func(*h2)) func(*adversary) error {
	return func(a *adversary) error {
		const connections = 4
		return each(connections, func(int) error {
			t, err := a.shakeHands("h2")
			if err != nil {
				return err
			}
			go t.drain()
			b := newH2(1 << 20)
			of(b)
			if err := t.script(b.Bytes()); err != nil {
				return err
			}
			// From here on all is indexed, and a batch is like the last but for its numbers.
			b.Reset()
			of(b)
			batch := b.Bytes()
			for sent, before := size, int64(0); ; sent += size {
				if !t.settled(before + answer*int64(size)) {
					return fmt.Errorf("%d bytes of answers to %d requests", t.wire.got.Load(), sent)
				}
				if sent >= a.n/connections {
					return nil
				}
				if sent > size {
					renumber(batch, uint32(2*size))
				}
				before = t.wire.got.Load()
				if err := t.script(batch); err != nil {
					return err
				}
			}
		})
	}
}

// renumber moves the streams of frames up.
func renumber(frames []byte, by uint32) {
	for len(frames) > 0 {
		id := binary.BigEndian.Uint32(frames[5:])
		binary.BigEndian.PutUint32(frames[5:], id+by)
		frames = frames[9+(int(frames[0])<<16|int(frames[1])<<8|int(frames[2])):]
	}
}
