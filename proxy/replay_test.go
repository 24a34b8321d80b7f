package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
)

// goingAway serves a connection as nginx does with keepalive_requests: after so many
// requests it says that it processes no others, and answers those with their body's size.
func goingAway(h framer, requests int) {
	sizes := map[uint32]int{}
	var last uint32
	for {
		f, err := h.ReadFrame()
		if err != nil {
			return
		}
		id, end := f.Header().StreamID, false
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				h.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				h.WritePing(true, f.Data)
			}
		case *http2.MetaHeadersFrame:
			if len(sizes) == requests {
				continue
			}
			sizes[id], end = 0, f.StreamEnded()
			if last = id; len(sizes) == requests {
				h.WriteGoAway(last, http2.ErrCodeNo, nil)
			}
		case *http2.DataFrame:
			if n := len(f.Data()); n > 0 {
				h.WriteWindowUpdate(0, uint32(n))
			}
			if id > last {
				continue
			}
			sizes[id] += len(f.Data())
			end = f.StreamEnded()
		}
		if end {
			h.answer(id, 200, strconv.Itoa(sizes[id]))
		}
	}
}

// What a backend did not process for it was about to close its connection is sent again,
// with what has come of its body.
func TestReplay_RequestsAboveTheLastOfAConnectionAreSentAgain(t *testing.T) {
	pool, b := h2cPool(t, frameBackend(t, func(h framer) { goingAway(h, 3) }))
	f := serve(t, pool)
	bothProtocols(t, func(t *testing.T, protocol string) {
		const clients, each, size = 8, 10, 30_000
		c := f.client(protocol)
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for i := range each {
					var body io.Reader = strings.NewReader(strings.Repeat("x", size))
					if i%2 == 1 {
						body = io.MultiReader(body) // its length is not known
					}
					res, err := c.Post(base+"/", "text/plain", body)
					if err != nil {
						t.Error(err)
						return
					}
					got, _ := io.ReadAll(res.Body)
					res.Body.Close()
					if res.StatusCode != 200 || string(got) != strconv.Itoa(size) {
						t.Errorf("%d %q", res.StatusCode, got)
					}
				}
			})
		}
		wg.Wait()
	})
	for len(b.changed) > 0 {
		if r := b.next(); r.blamed() {
			t.Errorf("the backend was blamed: %v", r.err)
		}
	}
}

// A body of which more was sent than is kept is not sent in part.
func TestReplay_WhatIsNotKeptIsNotSentAgain(t *testing.T) {
	pool, _ := h2cPool(t, frameBackend(t, func(h framer) {
		got := 0
		for {
			f, err := h.ReadFrame()
			if err != nil {
				return
			}
			if d, ok := f.(*http2.DataFrame); ok {
				h.WriteWindowUpdate(0, uint32(len(d.Data())+1))
				h.WriteWindowUpdate(d.StreamID, uint32(len(d.Data())+1))
				if got += len(d.Data()); got > keptBody {
					h.WriteGoAway(0, http2.ErrCodeNo, nil)
				}
			}
		}
	}))
	f := serve(t, pool)
	res, err := f.client("h1").Post(base+"/", "text/plain", strings.NewReader(strings.Repeat("x", 4*keptBody)))
	if err != nil {
		t.Fatal(err)
	}
	if body := text(t, res); res.StatusCode != http.StatusBadGateway {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

// That more of a body has come than can be sent again is no backend's fault.
func TestReplay_WhatIsNotKeptBlamesNobody(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	x := &exchange{}
	x.server, x.conn = f.server, &conn{}
	blame, told := f.server.forwarders[0].explain(x, false, errBodyLost)
	if !errors.Is(blame, context.Canceled) || !errors.Is(told, errBackendBroken) || errors.Is(told, errResend) {
		t.Errorf("the balancer is told %v, and the client %v", blame, told)
	}
}
