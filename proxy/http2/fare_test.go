package http2

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport/proxy/message"
)

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

// pay answers PINGs until the connection ends.
func (c *rawClient) pay() {
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return
		}
		if ping, ok := f.(*http2.PingFrame); ok && !ping.IsAck() && c.WritePing(true, ping.Data) != nil {
			return
		}
	}
}

func TestFare_StreamsAreServedAsFarAsTheyArePaidFor(t *testing.T) {
	const streams = 100
	var served atomic.Int32
	release := make(chan struct{})
	f := serve(t, Config{}, func(e message.Exchange) {
		served.Add(1)
		<-release
		answer(e, 200, "")
	})
	c := f.dial(t)
	requests := cheapRequests(1, streams)
	c.nc.Write(requests)
	// The first PING that comes says that some wait.
	ping := c.await(http2.FramePing).(*http2.PingFrame)
	const greeting = 24 + headLen + headLen // preface, SETTINGS and their acknowledgement
	paid := int32(freeStreams + (greeting+len(requests))/streamBytes)
	eventually(t, "streams that are paid for", func() bool { return served.Load() >= freeStreams })
	if n := served.Load(); n > paid {
		t.Errorf("%d streams are served for %d bytes, %d are paid for", n, len(requests), paid)
	}
	c.WritePing(true, ping.Data)
	go c.pay()
	eventually(t, "all streams, for a client that answers", func() bool { return served.Load() == streams })
	close(release)
}

func TestFare_WhatWaitsIsServedWhenOthersAreDone(t *testing.T) {
	const streams = 100
	var served atomic.Int32
	f := serve(t, Config{}, func(e message.Exchange) {
		served.Add(1)
		answer(e, 200, "")
	})
	c := f.dial(t)
	go io.Copy(io.Discard, c.nc) // PINGs are not answered
	c.nc.Write(cheapRequests(1, streams))
	eventually(t, "all streams", func() bool { return served.Load() == streams })
}

func TestFare_AnswersThatWereNotAskedForAreAFlood(t *testing.T) {
	f := serve(t, Config{}, hello)
	c := f.dial(t)
	go io.Copy(io.Discard, c.nc)
	for i := 0; i < 100_000 && !f.over(); i++ {
		if c.WritePing(true, farePing) != nil {
			break
		}
	}
	f.calmed(t)
}

func TestFare_AHandshakeCounts(t *testing.T) {
	const bought = 7
	var served atomic.Int32
	release := make(chan struct{})
	f := serve(t, Config{Heard: bought * streamBytes}, func(e message.Exchange) {
		served.Add(1)
		<-release
		answer(e, 200, "")
	})
	c := f.dial(t)
	c.nc.Write(cheapRequests(1, freeStreams+bought))
	eventually(t, "all streams, unasked", func() bool { return served.Load() == freeStreams+bought })
	close(release)
}

func TestFare_WhoHasWaitedIsServedBeforeWhoPays(t *testing.T) {
	served := make(chan string, 10)
	release := make(chan struct{})
	f := serve(t, Config{}, func(e message.Exchange) {
		served <- string(e.Request().Path)
		<-release
		answer(e, 200, "")
	})
	c := f.dial(t)
	go io.Copy(io.Discard, c.nc) // PINGs are not answered
	var all, section bytes.Buffer
	framer, encoder := http2.NewFramer(&all, nil), hpack.NewEncoder(&section)
	for i, extra := range []int{0, 0, 0, streamBytes} { // two are free, one waits, and the last pays for one more
		section.Reset()
		for _, h := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: fmt.Sprintf("/%d", i)}, {Name: ":authority", Value: "a"},
			{Name: "x", Value: strings.Repeat("~", extra)}} {
			encoder.WriteField(h)
		}
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(1 + 2*i), BlockFragment: section.Bytes(), EndStream: true, EndHeaders: true})
		c.nc.Write(all.Bytes())
		all.Reset()
		if i < freeStreams {
			<-served
		}
	}
	if path := <-served; path != "/2" {
		t.Errorf("%s is served first", path)
	}
	close(release)
}
