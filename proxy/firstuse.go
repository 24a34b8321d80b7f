package proxy

import "time"

// firstUses are the first requests on a backend's connections that have no response
// yet, in the order in which the connections were made.
//
// A server with a process or a thread for each connection, as Apache's prefork or gunicorn's
// workers are, serves no more connections than it has of these: others wait in its queue,
// with a request sent. A connection that is kept idle holds one of them, which all that wait
// could have. So none is kept while first requests starve: the oldest has waited for a
// while, and none on a younger connection has got a response. (Where a younger one has, the
// server takes connections, and the old request is just long.)
type firstUses struct {
	answered time.Duration // when the youngest was made that has got a response, since epoch
	waiting  []*firstUse
	timer    *time.Timer // closes idle connections when one starves; nil: none has been needed
	running  bool
	ended    bool
}

type firstUse struct {
	conn  *backendConn  // nil: it is over
	begun time.Duration // since epoch
}

// starvesAfter is how long a first request waits until no idle connection is kept beside it.
const starvesAfter = 250 * time.Millisecond

// outOfOrder is by how much connections may be served in another order than they were made.
const outOfOrder = 100 * time.Millisecond

// begin notes a connection that serves its first request. The pool's mu is held, here
// and in what follows.
func (f *firstUses) begin(cs *connections, c *backendConn) *firstUse {
	u := &firstUse{conn: c, begun: time.Since(epoch)}
	f.waiting = append(f.waiting, u)
	f.watch(cs, starvesAfter, c.address)
	return u
}

// over notes that a connection's request is over, well or not.
func (f *firstUses) over(c *backendConn) {
	u := c.first
	if u == nil {
		return
	}
	c.first, u.conn = nil, nil
	if c.conn.Answered() {
		f.answered = max(f.answered, u.begun)
	}
}

// starve reports whether first requests wait that an idle connection may keep from being served.
func (f *firstUses) starve() bool {
	for len(f.waiting) > 0 {
		u := f.waiting[0]
		answered := u.conn == nil || u.conn.conn.Answered()
		if answered && u.conn != nil {
			f.answered = max(f.answered, u.begun)
		}
		if !answered && u.begun >= f.answered-outOfOrder {
			return time.Since(epoch)-u.begun >= starvesAfter
		}
		f.waiting[0] = nil
		f.waiting = f.waiting[1:]
	}
	return false
}

// watch looks once, after a time, whether first requests starve beside idle connections: when
// all that is served is idle, nothing else happens that could tell.
func (f *firstUses) watch(cs *connections, after time.Duration, address string) {
	if f.running || f.ended {
		return
	}
	f.running = true
	look := func() { cs.relieve(address) }
	if f.timer == nil {
		f.timer = time.AfterFunc(after, look)
	} else {
		f.timer.Reset(after)
	}
}

// end ends the watch.
func (f *firstUses) end() {
	f.ended = true
	if f.timer != nil {
		f.timer.Stop()
	}
}

// relieve closes idle connections to a backend whose first requests starve. Those that fall
// idle later are not kept.
func (cs *connections) relieve(address string) {
	cs.mu.Lock()
	b := cs.of(address)
	f := &b.firsts
	f.running = false
	starve := f.starve()
	if !starve && len(f.waiting) > 0 {
		f.watch(cs, max(starvesAfter-(time.Since(epoch)-f.waiting[0].begun), time.Millisecond), address)
	}
	cs.mu.Unlock()
	if starve {
		cs.closeIdle(func(c *backendConn, _ int) bool { return c.address == address })
	}
}
