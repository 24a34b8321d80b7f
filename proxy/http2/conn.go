package http2

import (
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// conn is what both ends of a connection have in common.
type conn struct {
	nc     net.Conn
	cfg    *Config
	role   role
	client bool

	// These belong to the reading goroutine.
	in       reader
	dec      *hpack.Decoder
	block    *block // being decoded, or waiting for its CONTINUATION
	blockFor frame  // the HEADERS that began it
	greeted  bool   // the peer's first SETTINGS have come
	isLate   bool   // lateSince is set

	wg sync.WaitGroup // of workers and writers

	mu      sync.Mutex
	out     outbox
	streams map[uint32]*stream
	most    int      // that streams has held, which is what it keeps room for
	joined  int      // bytes of cookies that came in crumbs
	forgets []uint32 // the last streams that this end has reset, whose frames may still be on their way
	free    budget
	watch   watch

	recv       window // of all streams
	owed       int    // of it, that has come and is not given back, since memory is short
	waiting    int    // bytes of all streams that have come and wait to be read
	line       line
	hold       holding
	sendWindow int32
	senders    []*stream // waiting for sendWindow or for room in out, first come first served
	peer       settings

	lateSince     int64 // waiting in the middle of a frame or a field section
	settingsSince int64 // waiting for the peer's acknowledgement
	idleSince     int64
	pingSince     int64 // waiting for the answer to a PING
	lastHeard     int64 // from a peer that is asked when it was long ago
	came          bool  // something has, since a server last looked

	heardBytes int64 // that have come with whole frames

	lastID  uint32 // the highest stream that was begun
	goneTo  uint32 // GOAWAY from the peer: streams above are not processed
	goneBy  *GoAwayError
	closing bool  // nothing more comes; what is in out still leaves
	err     error // why it is closing; nil for a good end
}

// role is what the two ends do differently.
type role interface {
	// headers takes a whole field section that began with f, and is called
	// by the reader.
	headers(f frame, b *block) error
	// setting takes a setting that is for this role, with mu held.
	setting(http2.Setting) error
	// lastPeer is the last stream of the peer's that was worked on.
	lastPeer() uint32
	// configured tells that settings have come, with mu held.
	configured()
	// wentAway tells that GOAWAY has come, with mu held.
	wentAway()
	// gone tells that s has left the table, with mu held.
	gone(s *stream)
	// due does what this role has to do at this time, and says when it wants to be
	// asked again, with mu held.
	due(now int64) int64
	// calm has the peer begin no more streams, and lets those under way go on, with mu held.
	calm()
	// over tells, once or more, that the connection has ended, with mu held.
	over()
	// pong takes the answer to a PING, with mu held.
	pong(data [8]byte)
}

// epoch is where this package's times begin: nanoseconds of a monotonic clock.
var epoch = time.Now()

func now() int64 { return int64(time.Since(epoch)) + 1 }

func (c *conn) init(nc net.Conn, cfg *Config, r role) {
	c.nc, c.cfg, c.role = nc, cfg, r
	c.pace()
	c.in.src, c.in.late = nc, c.late
	c.streams = make(map[uint32]*stream)
	c.recv.size, c.recv.left = connWindow, connWindow // the greeting opens it
	c.line.init()
	c.hold.mem = cfg.Memory
	c.sendWindow = 65535
	c.peer = settings{initialWindow: 65535}
	c.goneTo = maxWindow
	c.free.init()
	c.out.shrunk.L = &c.mu
}

// greet queues this end's settings and opens the connection's window. mu is held.
func (c *conn) greet(preface string, s ...http2.Setting) {
	c.out.append([]byte(preface))
	c.out.pending = appendSettings(c.out.room(64), s...)
	c.out.pending = appendWindowUpdate(c.out.pending, 0, connWindow-65535)
	c.settingsSince = now()
	c.lastHeard = c.settingsSince
	c.arm(c.settingsSince + int64(c.cfg.Header))
	c.idle()
}

// end closes the connection for reason, and tells the peer why. mu is held. It
// is the first reason that counts. It returns the functions that its caller
// calls when it has let go of mu.
func (c *conn) end(reason error) (gone []func()) {
	if c.closing {
		return nil
	}
	c.closing, c.err = true, reason
	code := http2.ErrCodeNo
	var ce *ConnError
	switch {
	case errors.As(reason, &ce):
		code = ce.Code
	case reason != nil && !errors.Is(reason, errClosed):
		code = http2.ErrCodeInternal
	}
	c.out.pending = appendGoAway(c.out.room(headLen+8), c.role.lastPeer(), code)
	if reason == nil {
		reason = errClosed
	}
	for _, s := range c.streams {
		if f := c.drop(s, reason); f != nil {
			gone = append(gone, f)
		}
	}
	c.role.over()
	c.flushSoon()
	c.hush()
	return gone
}

// fail is end for those who do not hold mu.
func (c *conn) fail(reason error) {
	for _, f := range c.endLocked(reason) {
		f()
	}
}

func (c *conn) endLocked(reason error) (gone []func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end(reason)
}

// failSoon is fail for those who hold mu.
func (c *conn) failSoon(reason error) { c.spawn(func() { c.fail(reason) }) }

// hush tells the peer that nothing more comes, once everything has left, and
// has the reader give up soon. mu is held.
func (c *conn) hush() {
	if !c.closing || c.out.busy || len(c.out.pending) > 0 && c.out.err == nil {
		return
	}
	c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok && c.out.err == nil {
		c.spawn(func() { half.CloseWrite() })
	}
}

// A connection that ends on purpose reads on for a moment, lest what the peer
// is still sending makes the kernel throw away the GOAWAY on its way.
const (
	lingerTime  = time.Second
	lingerBytes = 256 << 10
)

// run reads frames until the connection ends, and waits for all that works for it.
func (c *conn) run(preface int) error {
	err := c.finish(c.readAll(preface))
	c.nc.Close()
	c.in.release()
	if c.block != nil {
		c.block.release()
		c.block = nil
	}
	c.mu.Lock()
	c.watch.stop() // from here on no timer starts a goroutine
	c.role.over()
	c.mu.Unlock()
	c.wg.Wait()
	c.mu.Lock()
	c.out.free()
	c.mu.Unlock()
	return err
}

// readAll is read, of which a panic is an error too.
func (c *conn) readAll(preface int) (err error) {
	defer c.caught(func() { err = errPanicked })
	return c.read(preface)
}

// finish ends the connection for what reading ended with, unless something else
// has ended it, and returns the reason.
func (c *conn) finish(err error) error {
	var ce *ConnError
	if errors.As(err, &ce) {
		c.fail(ce)
	}
	c.mu.Lock()
	closing, reason := c.closing, c.err
	c.mu.Unlock()
	switch {
	case closing:
		c.linger()
		return reason
	case c.lose(err):
		return err
	}
	return nil // a peer may close as it likes when it waits for nothing
}

// lose ends a connection whose peer cannot be told anything any more. It says
// whether something was lost with it.
func (c *conn) lose(err error) bool {
	lost, gone := c.loseLocked(err)
	for _, f := range gone {
		f()
	}
	return lost
}

func (c *conn) loseLocked(reason error) (lost bool, gone []func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost = len(c.streams) > 0 || c.isLate
	if c.goneBy != nil {
		reason = c.goneBy
	}
	if c.out.err == nil {
		c.out.err = reason
	}
	return lost, c.end(reason)
}

// linger reads and throws away what still comes.
func (c *conn) linger() {
	defer c.caught(func() {}) // a reader that has panicked may do so again
	for left := lingerBytes; left > 0; {
		p, err := c.in.some(left)
		if err != nil {
			return
		}
		left -= len(p)
	}
}

// forget remembers that this end has reset a stream, for as long as frames for
// it may still come. mu is held.
func (c *conn) forget(id uint32) {
	if len(c.forgets) == maxForgets {
		c.forgets = append(c.forgets[:0], c.forgets[1:]...)
	}
	c.forgets = append(c.forgets, id)
}

const maxForgets = 64

func (c *conn) forgot(id uint32) bool {
	for _, f := range c.forgets {
		if f == id {
			return true
		}
	}
	return false
}

// endWell closes the connection when what is pending has left. There is no
// stream any more, and the peer was told. mu is held.
func (c *conn) endWell() {
	if c.closing {
		return
	}
	c.closing = true
	c.flushSoon()
	c.hush()
}
