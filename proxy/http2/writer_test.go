package http2

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// slowConn holds its first write back until it is released, and counts all.
type slowConn struct {
	net.Conn
	in      io.Reader
	release chan struct{}

	mu     sync.Mutex
	writes int
	out    bytes.Buffer
}

func (c *slowConn) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *slowConn) Write(p []byte) (int, error) {
	<-c.release
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	return c.out.Write(p)
}

func (c *slowConn) Close() error { return nil }

func (c *slowConn) SetReadDeadline(time.Time) error { return nil }

func TestServer_AnswersThatAreReadyLeaveInOneWrite(t *testing.T) {
	var words bytes.Buffer
	words.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&words, nil)
	fr.WriteSettings()
	fr.WriteSettingsAck()
	const n = 20
	for i := range n {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: section(plain...), EndHeaders: true, EndStream: true})
	}
	hangUp := make(chan struct{})
	nc := &slowConn{in: io.MultiReader(&words, &gate{hangUp, strings.NewReader("")}), release: make(chan struct{})}
	var answered sync.WaitGroup
	answered.Add(n)
	c := NewServerConn(nc, Config{}, func(e message.Exchange) {
		hello(e)
		answered.Done()
	})
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		c.Run()
	}()
	answered.Wait() // none of them has left
	close(nc.release)
	eventually(t, "all answers", func() bool {
		nc.mu.Lock()
		defer nc.mu.Unlock()
		return strings.Count(nc.out.String(), "hello, world") == n
	})
	nc.mu.Lock()
	if nc.writes > 2 { // the greeting, and all answers
		t.Errorf("%d writes", nc.writes)
	}
	nc.mu.Unlock()
	close(hangUp)
	<-ran
}

func TestServer_EndRidesOnTheLastDataFrame(t *testing.T) {
	f := serve(t, Config{}, func(e message.Exchange) {
		e.WriteHead(&message.Response{Status: 200, Length: message.Unknown}, false)
		e.WriteBody([]byte("whole"), false)
		e.End(nil)
	})
	c := f.dial(t)
	id := uint32(1)
	eventually(t, "an end on the data itself", func() bool { // unless what was kept left in between
		c.request(id, true, plain...)
		id += 2
		d := c.await(http2.FrameData).(*http2.DataFrame)
		return d.StreamEnded() && len(d.Data()) > 0
	})
}
