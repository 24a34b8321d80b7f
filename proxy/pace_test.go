package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport/proxy/memory"
)

// trickle is a connection that is read from a little at a time, and whose kernel keeps little.
type trickle struct{ net.Conn }

func (c trickle) Read(p []byte) (int, error) {
	time.Sleep(40 * time.Millisecond) // the reader's pace
	return c.Conn.Read(p[:min(len(p), 1<<10)])
}

// trickling is a client that reads so.
func (f *front) trickling(protocol string) *http.Client {
	c := f.client(protocol)
	c.Timeout = 4 * patience
	c.Transport.(*http.Transport).DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.addr)
		if err != nil {
			return nil, err
		}
		_ = raw.(*net.TCPConn).SetReadBuffer(4 << 10)
		conf := f.tls(www)
		conf.NextProtos = []string{map[string]string{"h1": "http/1.1", "h2": "h2"}[protocol]}
		t := tls.Client(trickle{raw}, conf)
		return t, t.HandshakeContext(ctx)
	}
	return c
}

// Who reads without a pause is not cut, however long a piece takes that is written at once.
func TestPace_ASlowReaderGetsAll(t *testing.T) {
	t.Parallel()
	const size = 80 << 10
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, zeroes(size)) }))
	f := serve(t, pool, timeouts(func(t *Timeouts) { t.Write = time.Second }))
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			res, err := f.trickling(protocol).Get(base + "/")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
				t.Errorf("%d bytes, then %v", n, err)
			}
		})
	}
}

// unread returns a connection with a limit whose peer's kernel takes no more.
func unread(t *testing.T, limit time.Duration) (c *tcpConn, theirs net.Conn) {
	ours, theirs := tcpPair(t)
	c = newTCPConn(ours).(*tcpConn)
	boundUnsent(c)
	_ = c.SetWriteDeadline(time.Now().Add(short))
	for {
		if _, err := c.Write(make([]byte, 64<<10)); err != nil {
			break
		}
	}
	_ = c.SetWriteDeadline(time.Time{})
	c.PaceWrites(limit)
	return c, theirs
}

func TestPace_WhoReadsNothingIsCut(t *testing.T) {
	c, _ := unread(t, short)
	if _, err := c.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	never := func(uintptr) bool { return false }
	if err := c.AwaitWrite(never); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("without a write: ", err)
	}
}

// A write goes on where the peer has acknowledged some since it was looked at.
func TestPace_ProgressIsWhatIsAcknowledged(t *testing.T) {
	c, theirs := unread(t, time.Hour)
	p := &c.pace
	c.out = transfer{}
	p.waits, p.looked = false, false
	c.waitBegins()
	eventually(t, "the peer's window is closed", c.windowIsClosed)
	overdue := func() { p.moved -= patientLimits * time.Hour }
	if !c.waitGoesOn() || c.stalledFor() == 0 {
		t.Error("the first look ends the wait, or is not told of")
	}
	p.moved -= 2 * time.Hour
	if !c.waitGoesOn() {
		t.Error("it ends though the peer's window is closed")
	}
	overdue()
	if c.waitGoesOn() {
		t.Error("it goes on without progress")
	}
	before := c.unacknowledged()
	if _, err := io.CopyN(io.Discard, theirs, int64(before)/2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "some is acknowledged", func() bool { return c.unacknowledged() < before })
	if !c.waitGoesOn() {
		t.Error("it ends in spite of progress")
	}
	overdue()
	if c.waitGoesOn() {
		t.Error("it goes on without further progress")
	}
}

// An interruption ends a write at once, be it slow or not, and so does a deadline of
// somebody else's.
func TestPace_OthersMayEndAWrite(t *testing.T) {
	c, _ := unread(t, time.Hour)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 1<<20))
		wrote <- err
	}()
	_ = c.SetDeadline(past)
	if err := await(t, "the end of the write", wrote); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if _, err := c.Write(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the next one: ", err)
	}
}

// stalls is a front with one connection whose client reads nothing of a long response, looked at
// once.
func stalls(t *testing.T, protocol string, edit ...func(*Config)) *front {
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			io.Copy(w, zeroes(256<<20))
		}
	}))
	f := serve(t, pool, append(edit, timeouts(func(t *Timeouts) { t.Write = 16 * time.Second }))...)
	if protocol == "h2" {
		_, c := f.dialHTTP2Conn()
		h := http2.NewFramer(c, c)
		_ = h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		_ = h.WriteWindowUpdate(0, 1<<30)
		_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: getHead("/long"), EndStream: true, EndHeaders: true})
	} else {
		f.dial(www).send("GET /long HTTP/1.1\nHost: " + www + "\n\n")
	}
	eventually(t, "nothing moves", func() bool {
		all := f.server.listeners[0].open.snapshot()
		return len(all) == 1 && all[0].waited() >= leastWait
	})
	return f
}

// Where there is no room for others, who does not read gives way.
func TestPace_WhoDoesNotReadMakesRoom(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f := stalls(t, protocol, func(c *Config) { c.Listeners[0].MaxConnections = 1 })
			res, err := f.client("h1").Get(base + "/")
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		})
	}
}

func TestPace_WhoDoesNotReadGivesMemoryBack(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f := stalls(t, protocol, smallMemory)
			letGo := f.hog("127.0.0.1", 1<<20)
			defer letGo()
			eventually(t, "the connection is closed", func() bool { return f.server.clients.count() == 0 })
			if n := f.server.memory.Rationed(memory.ConnectionClosed); n == 0 {
				t.Error("it is not counted")
			}
		})
	}
}

// getHead is the field block of a GET.
func getHead(path string) []byte {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, kv := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", www}, {":path", path}} {
		_ = enc.WriteField(hpack.HeaderField{Name: kv[0], Value: kv[1]})
	}
	return block.Bytes()
}
