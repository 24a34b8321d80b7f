package http2

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// refuseEarly answers before it has read anything.
func refuseEarly(e message.Exchange) { answer(e, 413, "too large") }

// upload begins a request with a body, and reads the whole response to it.
func (c *rawClient) upload(id uint32, fields ...string) {
	c.t.Helper()
	c.request(id, false, append([]string{":method: POST", ":scheme: http", ":path: /", ":authority: a"}, fields...)...)
	for {
		f, err := c.ReadFrame()
		if err != nil {
			c.t.Fatal(err)
		}
		switch {
		case f.Header().Type == http2.FrameRSTStream:
			c.t.Fatal("reset before the response was whole")
		case f.Header().Type == http2.FrameData && f.Header().Flags.Has(http2.FlagDataEndStream):
			return
		}
	}
}

// streams is how many the server's connections have.
func (f *front) streams() (n int) {
	f.each(func(c *ServerConn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		n += len(c.streams)
	})
	return n
}

// Some clients lose a response that RST_STREAM follows while they send.
func TestEarly_ClientMaySendToItsEnd(t *testing.T) {
	f := serve(t, Config{}, refuseEarly)
	c := f.dial(t)
	c.upload(1)
	window, sent := streamWindow, 0
	for sent < 2*streamWindow {
		if window < maxPayload {
			switch fr := c.next().(type) {
			case *http2.WindowUpdateFrame:
				if fr.StreamID == 1 {
					window += int(fr.Increment)
				}
			case *http2.RSTStreamFrame:
				t.Fatalf("stopped after %d bytes", sent)
			}
			continue
		}
		c.WriteData(1, false, make([]byte, maxPayload))
		window, sent = window-maxPayload, sent+maxPayload
	}
	c.WriteData(1, true, nil)
	c.WritePing(false, [8]byte{1})
	for {
		switch fr := c.next().(type) {
		case *http2.RSTStreamFrame:
			t.Fatal("reset, although its request was whole")
		case *http2.PingFrame:
			if fr.IsAck() {
				if n := f.streams(); n > 0 {
					t.Errorf("%d streams left", n)
				}
				return
			}
		}
	}
}

// next reads a frame, of any kind.
func (c *rawClient) next() http2.Frame {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(patience))
	f, err := c.ReadFrame()
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

// Others wait to be told that they may stop.
func TestEarly_ClientThatPausesIsStopped(t *testing.T) {
	f := serve(t, Config{}, refuseEarly)
	c := f.dial(t)
	c.upload(1)
	if got := c.await(http2.FrameRSTStream).(*http2.RSTStreamFrame).ErrCode; got != http2.ErrCodeNo {
		t.Errorf("reset with %v", got)
	}
	c.WriteData(1, true, []byte("on its way")) // and is taken
	c.upload(3)
}

func TestEarly_WhatIsDroppedIsBounded(t *testing.T) {
	f := serve(t, Config{}, refuseEarly)
	c := f.dial(t)
	c.upload(1)
	window := streamWindow
	for sent := 0; ; {
		if window >= maxPayload {
			c.WriteData(1, false, make([]byte, maxPayload))
			window, sent = window-maxPayload, sent+maxPayload
			continue
		}
		switch fr := c.next().(type) {
		case *http2.WindowUpdateFrame:
			if fr.StreamID == 1 {
				window += int(fr.Increment)
			}
		case *http2.RSTStreamFrame:
			if fr.ErrCode != http2.ErrCodeNo || sent < earlyBytes || sent > 2*earlyBytes {
				t.Errorf("reset with %v after %d bytes", fr.ErrCode, sent)
			}
			return
		}
	}
}

// A drain does not wait for an upload that is dropped.
func TestEarly_DrainIsNotHeldUp(t *testing.T) {
	f := serve(t, Config{}, refuseEarly)
	c := f.dial(t)
	c.upload(1)
	f.each((*ServerConn).Shutdown)
	var mu sync.Mutex // of what is written
	stop := make(chan struct{})
	defer close(stop)
	go func() { // it never pauses
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				mu.Lock()
				c.WriteData(1, false, []byte("x"))
				mu.Unlock()
			}
		}
	}()
	for {
		switch fr := c.next().(type) {
		case *http2.PingFrame:
			mu.Lock()
			c.WritePing(true, fr.Data)
			mu.Unlock()
		case *http2.RSTStreamFrame:
			if err := f.ended(t, 1)[0]; err != nil {
				t.Errorf("ended with %v", err)
			}
			return
		}
	}
}

// Who gives up what is answered already has cost nothing.
func TestEarly_GivingUpAnAnsweredRequestIsNoFlood(t *testing.T) {
	f := serve(t, Config{}, refuseEarly)
	c := f.dial(t)
	for i := range uint32(2 * budgetMax / costReset) {
		c.upload(2*i + 1)
		c.WriteRSTStream(2*i+1, http2.ErrCodeNo)
	}
}

// A stream's end by this server leaves nobody waiting who is told of its client's.
func TestEarly_HandlerReturnsAfterItsStreamsEnd(t *testing.T) {
	stopped, returned := make(chan struct{}), make(chan struct{})
	f := serve(t, Config{}, func(e message.Exchange) {
		e.OnGone(func() {})
		refuseEarly(e)
		e.(interface{ Drop() }).Drop()
		<-stopped
		e.OnGone(nil)
		close(returned)
	})
	c := f.dial(t)
	c.upload(1)
	c.await(http2.FrameRSTStream)
	close(stopped)
	select {
	case <-returned:
	case <-time.After(patience):
		t.Fatal("it waits to be told")
	}
}
