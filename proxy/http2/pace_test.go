package http2

import (
	"net"
	"testing"
	"time"
)

// pacing is a connection that bounds its writes by itself.
type pacing struct {
	net.Conn
	limit time.Duration
}

func (p *pacing) PaceWrites(limit time.Duration) { p.limit = limit }

// A stream that waits for its turn is not to blame for those before it.
func TestPace_AQueuedStreamMovesWithItsConnection(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	nc := &pacing{Conn: near}
	var c ServerConn
	c.conn.init(nc, &Config{Write: time.Minute, Memory: plenty{}}, &c)
	if nc.limit != time.Minute {
		t.Errorf("the socket's limit is %v", nc.limit)
	}
	s := newStream(&c.conn)
	c.streams[1] = s
	for _, this := range []struct {
		name          string
		sendSince     int64
		queued        bool
		moved, writes int64 // of the connection
		want          int64
	}{
		{"does not wait", 0, false, 50, 60, 0},
		{"waits for its window", 10, false, 50, 60, 10},
		{"waits for its turn while others' bytes leave", 10, true, 50, 60, 100},
		{"waits for its turn, and the peer has opened the connection's window", 10, true, 50, 0, 50},
		{"waits for its turn, and nothing has moved since", 10, true, 5, 0, 10},
	} {
		s.sendSince, s.queued, c.out.moved, c.out.since = this.sendSince, this.queued, this.moved, this.writes
		if got := s.sendSinceMoved(100); got != this.want {
			t.Errorf("%s: since %d, want %d", this.name, got, this.want)
		}
	}
	if c.Stalled() == 0 {
		t.Error("its only stream waits, and it is not stalled")
	}
	c.streams[3] = newStream(&c.conn)
	if d := c.Stalled(); d != 0 {
		t.Errorf("stalled for %v beside a stream that does not wait", d)
	}
}
