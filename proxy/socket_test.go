package proxy

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// countedDeadlines is a connection that counts how often its deadline is set.
type countedDeadlines struct {
	net.Conn
	set atomic.Int64
}

func (c *countedDeadlines) SetReadDeadline(t time.Time) error {
	c.set.Add(1)
	return c.Conn.SetReadDeadline(t)
}

// A tunnel in which nothing is said costs nothing: its sides tell when they end.
func TestSocket_OfASilentTunnelIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := &countedDeadlines{Conn: near}
		s := &socket{Conn: c, x: &exchange{record: record{tunnel: new(tunnel)}}}
		read := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 1))
			read <- err
		}()
		time.Sleep(time.Hour)
		if n := c.set.Load(); n > 1 {
			t.Errorf("looked at %d times within an hour", n)
		}
		s.interrupt()
		if err := <-read; err == nil {
			t.Error("not interrupted")
		}
	})
}
