package http2

import (
	"time"

	"golang.org/x/net/http2"
)

// drain ends a connection without losing a request (RFC 9113 §6.8): GOAWAY says
// first that no more shall come, and only when everything that was sent
// meanwhile has arrived, which a PING shows, which stream was the last.
type drain struct {
	begun bool
	final bool   // the second GOAWAY was sent
	last  uint32 // the highest stream that is served
	at    int64  // when the second GOAWAY is sent even without an answer
}

// drainWait is how long a client may take to answer the PING of a drain.
const drainWait = int64(time.Second)

var drainPing = [8]byte{'d', 'r', 'a', 'i', 'n'}

// Shutdown asks the client to make no more requests. Run returns once those
// under way are answered. It does not wait.
func (c *ServerConn) Shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drain.begun || c.closing {
		return
	}
	c.drain.begun = true
	c.hasten()
	c.drain.at = now() + drainWait
	c.out.pending = appendGoAway(c.out.room(64), maxWindow, http2.ErrCodeNo)
	c.out.pending = appendPing(c.out.pending, 0, drainPing)
	c.flushSoon()
	c.arm(c.drain.at)
}

// pong implements role.
func (c *ServerConn) pong(data [8]byte) {
	if c.drain.begun && data == drainPing {
		c.finalGoAway()
	}
}

// calm implements role. The client may have begun more streams meanwhile, of which it is
// told that they were not processed; so it makes those requests again by another connection.
func (c *ServerConn) calm() {
	c.drain.begun = true
	c.finalGoAway()
}

func (c *ServerConn) finalGoAway() {
	d := &c.drain
	if d.final || c.closing {
		return
	}
	d.final, d.at = true, 0
	d.last = c.lastID
	c.out.pending = appendGoAway(c.out.room(headLen+8), d.last, http2.ErrCodeNo)
	c.flushSoon()
	if len(c.streams) == 0 {
		c.drained()
	}
}

// drained closes the connection once the last stream has gone.
func (c *ServerConn) drained() {
	if c.drain.final {
		c.endWell()
	}
}

// due sends the final GOAWAY when its time has come.
func (d *drain) due(c *ServerConn, t int64) int64 {
	if d.at != 0 && d.at <= t {
		c.finalGoAway()
	}
	if d.at == 0 {
		return never
	}
	return d.at
}
