package http2

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// piped is a client and a server with nothing between them, in a bubble: its clock moves
// when both wait.
func piped(t *testing.T, cfg Config, handler func(message.Exchange)) (*rawClient, *ServerConn, <-chan error) {
	near, far := net.Pipe()
	s := NewServerConn(far, cfg, handler)
	over := make(chan error, 1)
	go func() { over <- s.Run() }()
	c := &rawClient{http2.NewFramer(near, near), near, t}
	t.Cleanup(func() { near.Close() })
	return c, s, over
}

// greet is what a client sends first.
func (c *rawClient) greet() {
	io.WriteString(c.nc, http2.ClientPreface)
	c.WriteSettings()
	c.WriteSettingsAck()
}

// frames has a goroutine read all that the server sends, and keep what asks for it.
func (c *rawClient) frames(keep func(http2.Frame)) {
	go func() {
		for {
			f, err := c.ReadFrame()
			if err != nil {
				return
			}
			keep(f)
		}
	}()
}

// Calls with deadlines, and a backend that keeps none of them, are no flood.
func TestBudget_CallsGivenUpInTheirTimeAreNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, over := piped(t, Config{}, func(e message.Exchange) {
			gone := make(chan struct{})
			e.OnGone(func() { close(gone) })
			<-gone
		})
		away := false
		c.frames(func(f http2.Frame) { away = away || f.Header().Type == http2.FrameGoAway })
		c.greet()
		const atOnce = 80
		for id := uint32(1); id < 60*2*atOnce; id += 2 { // of a minute
			c.request(id, true, plain...)
			if id > 2*atOnce {
				c.WriteRSTStream(id-2*atOnce, http2.ErrCodeCancel)
			}
			time.Sleep(time.Second / atOnce)
		}
		synctest.Wait()
		if away {
			t.Error("asked to go away")
		}
		s.Close()
		<-over
	})
}

// What goes beyond that costs the connection no stream that is under way.
func TestBudget_HealthyStreamsOutliveTooMuchInVain(t *testing.T) {
	finish := make(chan struct{})
	release := sync.OnceFunc(func() { close(finish) })
	f := serve(t, Config{}, func(e message.Exchange) {
		if string(e.Request().Path) == "/healthy" {
			<-finish
			answer(e, 200, "well")
			return
		}
		gone := make(chan struct{})
		e.OnGone(func() { close(gone) })
		<-gone
	})
	t.Cleanup(release)
	c := f.dial(t)
	c.request(1, true, ":method: GET", ":scheme: http", ":path: /healthy", ":authority: a")
	ended := make(chan uint32, 1)
	whole, pong := make(chan struct{}), make(chan struct{}, 1)
	c.frames(func(f http2.Frame) {
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				t.Errorf("GOAWAY with %v", f.ErrCode)
			}
			ended <- f.LastStreamID
		case *http2.PingFrame:
			if f.IsAck() {
				pong <- struct{}{}
			}
		case *http2.DataFrame:
			if f.StreamID == 1 && f.StreamEnded() {
				close(whole)
			}
		}
	})
	id := uint32(3)
	for ; len(ended) == 0; id += 2 {
		c.request(id, true, plain...)
		c.WriteRSTStream(id, http2.ErrCodeCancel)
		if id%100 == 1 {
			c.WritePing(false, [8]byte{})
			select {
			case <-pong:
			case <-time.After(patience):
				t.Fatal("neither an answer nor an end")
			}
		}
	}
	if last := <-ended; last == 0 || last > id {
		t.Errorf("GOAWAY names stream %d, the last was %d", last, id)
	}
	c.request(id, true, plain...) // which is too late, and no error
	release()
	select {
	case <-whole:
	case <-time.After(patience):
		t.Fatal("the healthy stream had no response")
	}
	if err := f.ended(t, 1)[0]; err != nil {
		t.Errorf("ended with %v", err)
	}
}

// It is streams in vain that have used the budget up, whatever frame meets its end: a client
// whose calls are given up sends PINGs and WINDOW_UPDATEs as well.
func TestBudget_AnyFrameMayMeetTheEndOfWhatWasInVain(t *testing.T) {
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	c := NewServerConn(near, Config{}, func(message.Exchange) {})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free.at = now()
	for c.free.left >= costReset {
		if err := c.vain(costReset); err != nil || c.drain.begun {
			t.Fatalf("with %d left: %v, draining %t", c.free.left, err, c.drain.begun)
		}
	}
	for range budgetMax {
		if c.drain.begun {
			break
		}
		if err := c.spend(costFrame); err != nil {
			t.Fatalf("a frame: %v", err)
		}
	}
	if !c.drain.begun {
		t.Fatal("it takes more streams")
	}
	c.free.at, c.free.left = now(), 0
	for range budgetMax {
		if err := c.spend(costFrame); err != nil {
			return
		}
	}
	t.Error("what still comes does not end it")
}

// What is refused is answered, and uses the budget up all the same.
func TestBudget_RefusedRequestsUseItUp(t *testing.T) {
	for name, end := range map[string]bool{"without a body": true, "with a body to come": false} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, Config{}, hello)
			c := f.dial(t)
			const left = 10 * costReset
			f.each(func(c *ServerConn) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.free.left, c.free.at = left, now()+int64(time.Hour) // no time passes for it
			})
			for i := range uint32(2 * left / costReset) {
				id := 2*i + 1
				c.request(id, end, ":method: POST", ":scheme: http", ":path: no path", ":authority: a")
				for over := false; !over; {
					switch fr := c.next().(type) {
					case *http2.GoAwayFrame:
						return
					case *http2.DataFrame:
						over = fr.StreamID == id && fr.StreamEnded()
					}
				}
				if !end {
					c.WriteData(id, true, nil)
				}
			}
			t.Error("it was not used up")
		})
	}
}
