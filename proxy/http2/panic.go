package http2

import "golang.org/x/net/http2"

// errPanicked is a connection's end by a panic at this end.
var errPanicked = &ConnError{http2.ErrCodeInternal, "internal error"}

// caught is deferred by whatever works for a connection, so that a panic ends that and
// not the process. It tells of the panic, and calls then. Where nobody wants to be
// told, as in tests, nothing is recovered.
//
// Whoever panics must have let go of mu by then: what holds it defers that, where
// it does more than look.
func (c *conn) caught(then func()) {
	if c.cfg.Panicked == nil {
		return
	}
	if v := recover(); v != nil {
		c.cfg.Panicked(v)
		defer c.caught(func() { c.nc.Close() }) // the connection itself may be what is broken
		then()
	}
}

// spawn is for goroutines that Run waits for.
func (c *conn) spawn(f func()) {
	c.wg.Go(func() {
		defer c.caught(c.panicked)
		f()
	})
}

// panicked ends the connection.
func (c *conn) panicked() { c.fail(errPanicked) }
