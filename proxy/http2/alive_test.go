package http2

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// untilGone is a handler that waits for its client to leave.
func untilGone(e message.Exchange) {
	gone := make(chan struct{})
	e.OnGone(func() { close(gone) })
	<-gone
}

// A client that vanishes without a word has nothing done for it for ever.
func TestAlive_ClientThatVanishedIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, over := piped(t, Config{}, untilGone)
		asked := 0
		c.frames(func(f http2.Frame) {
			if p, ok := f.(*http2.PingFrame); ok && !p.IsAck() {
				asked++
			}
		})
		c.greet()
		c.request(1, true, plain...)
		if err := <-over; !errors.Is(err, errDead) {
			t.Errorf("ended with %v", err)
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// One that is only silent is asked now and then, and served for as long as it takes.
func TestAlive_SilentClientIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, over := piped(t, Config{}, untilGone)
		pings := make(chan [8]byte, 100)
		c.frames(func(f http2.Frame) {
			if p, ok := f.(*http2.PingFrame); ok && !p.IsAck() {
				pings <- p.Data
			}
		})
		c.greet()
		c.request(1, true, plain...)
		asked := 0
		for end := time.Now().Add(time.Hour); time.Now().Before(end); asked++ {
			c.WritePing(true, <-pings)
		}
		if asked > 60 {
			t.Errorf("asked %d times within an hour", asked)
		}
		select {
		case err := <-over:
			t.Errorf("ended with %v", err)
		default:
		}
		s.Close()
		<-over
	})
}
