package proxy

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/proxy/http1"
	"sallyport/proxy/http2"
	"sallyport/proxy/message"
)

// upload is a request's body on its way to the backend.
//
// A small one of known length is read whole before a backend is asked: it
// leaves together with the head, can be sent again, and a client that sends it
// slowly holds no backend. Any other is passed on as it comes by a goroutine of
// its own, since a backend may answer before it has come whole.
type upload struct {
	kind  uploadKind
	small freight // holds a whole one
	body  []byte  // it

	replay  replay
	running bool          // the goroutine was started
	done    chan struct{} // gets one when it has ended
	backend string        // that it goes to
	silent  *silents      // the pool's
	over    atomic.Bool   // the answer is complete, or broken off: nobody needs the rest
	word    chan bool     // whether to send, where the client waits for 100 (Continue); else nil

	fault atomic.Pointer[failure] // how the client broke the body
	bytes atomic.Int64            // read from the client
}

type uploadKind uint8

const (
	uploadNone uploadKind = iota
	uploadWhole
	uploadStream
)

const (
	smallBody = 16 << 10

	// What is still read of a body after its answer is complete, so that the
	// client gets to see the answer (RFC 9112 §9.6).
	drainBytes = 256 << 10
	drainTime  = 2 * time.Second
)

func (u *upload) reset() {
	if u.kind == uploadStream {
		u.replay.reset()
		u.word, u.silent = nil, nil
	}
	u.small.free()
	u.kind, u.small, u.body, u.running = uploadNone, freight{}, nil, false
	// Nearly always these are zero: to look costs less than to store.
	if u.fault.Load() != nil {
		u.fault.Store(nil)
	}
	if u.bytes.Load() != 0 {
		u.bytes.Store(0)
	}
	if u.over.Load() {
		u.over.Store(false)
	}
}

// takeBody looks at the request's body, and reads a small one.
func (x *exchange) takeBody() error {
	u := &x.upload
	switch length := x.in.Length; {
	case length == 0 || len(x.in.Protocol) > 0:
		return nil // what a tunnel carries is no body
	case length < 0 || length > smallBody || x.in.Expects:
		u.kind = uploadStream
		x.converse()
		return nil
	}
	u.kind = uploadWhole
	body := x.client.Body()
	for {
		if len(u.body) == len(u.small.room()) {
			u.small.grow()
		}
		n, err := body.Read(u.small.room()[len(u.body):])
		u.bytes.Add(int64(n))
		u.body = u.small.room()[:len(u.body)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return x.bodyFault(err)
		}
		if len(u.body) == int(x.in.Length) && !ready(body) {
			// The end is known though nothing has said it yet.
			return nil
		}
	}
}

// converse lets a client of HTTP/2 keep silent within its body for as long as in a
// tunnel, where the backend speaks HTTP/2 too: between these it may be one side of a
// conversation, as in gRPC.
func (x *exchange) converse() {
	c, ok := x.client.(interface{ ReadWithin(time.Duration) })
	if ok && x.route.pool.Protocol == H2C {
		c.ReadWithin(x.listener.Timeouts.Tunnel)
	}
}

// bodyFault says what became of a body that its client did not send whole.
func (x *exchange) bodyFault(err error) *failure {
	var malformed *http1.Error
	switch {
	case isTimeout(err):
		return errBodySlow
	case errors.As(err, &malformed), errors.Is(err, http2.ErrMalformed):
		return errBodyBroken
	case x.server.cut.Load():
		return errCut
	case err == io.ErrUnexpectedEOF && x.conn.halfClosed():
		return errBodyBroken
	}
	return errClientGone
}

// ready says whether a body has something to read without a wait, where the
// protocol can tell.
func ready(b message.Body) bool {
	r, ok := b.(interface{ Ready() bool })
	return ok && r.Ready()
}

// repeatable says whether the body can be sent once more to a backend that may have seen it.
func (u *upload) repeatable() bool { return !u.running }

// replayable reports whether the body can be sent where none has processed it. One that waits
// for the word of the backend cannot: whether it has begun is not known.
func (u *upload) replayable() bool {
	return !u.running || u.word == nil && !u.replay.lost.Load()
}

// startUpload sends the body to a backend as it comes, by a goroutine of its own.
func (x *exchange) startUpload(c message.Call) {
	u := &x.upload
	u.replay.begin(c)
	if u.done == nil {
		u.done = make(chan struct{}, 1)
	}
	if x.in.Expects {
		u.word = make(chan bool, 1)
	}
	u.running = true
	u.silent = &x.route.pool.silent
	u.backend = x.backend
	go x.send()
}

// continueTimeout is how long a backend may keep a client waiting that waits for
// 100 (Continue). One that has let it pass is not waited for again, until it says 100.
const continueTimeout = time.Second

// silents are the backends of a pool, by address, that have kept silent where a client waits
// for 100 (Continue).
type silents struct{ all sync.Map }

func (s *silents) has(backend string) bool {
	_, ok := s.all.Load(backend)
	return ok
}

// note notes whether a backend keeps silent.
func (s *silents) note(backend string, silent bool) {
	if silent {
		s.all.Store(backend, nil)
	} else if s.has(backend) {
		s.all.Delete(backend)
	}
}

// tell gives the word that an upload may wait for. Only the first one counts.
func (u *upload) tell(begin bool) {
	select {
	case u.word <- begin:
	default:
	}
}

// told waits for the word, or until the backend has kept silent for a while
// (RFC 9110 §10.1.1).
func (u *upload) told() bool {
	if u.word == nil || u.silent.has(u.backend) {
		return true
	}
	silent := time.NewTimer(continueTimeout)
	defer silent.Stop()
	select {
	case begin := <-u.word:
		return begin
	case <-silent.C:
		u.silent.note(u.backend, true)
		return true
	}
}

// send is that goroutine. What the client does wrong stays in fault and wakes
// the request's goroutine; what the backend does, that one learns by itself.
func (x *exchange) send() {
	u := &x.upload
	defer func() { u.done <- struct{}{} }()
	defer x.server.caught(inUpload, func() { x.uploadFails(errPanicked) })
	if !u.told() {
		return
	}
	var buffer freight
	defer buffer.free()
	body := x.client.Body()
	for {
		n, err := body.Read(buffer.room())
		u.bytes.Add(int64(n))
		switch {
		case err == io.EOF:
			u.replay.end(x.requestTrailers(body.Trailers()))
			return
		case u.over.Load():
			return
		case err != nil:
			x.uploadFails(x.bodyFault(err))
			return
		case x.route.tooLarge(u.bytes.Load()):
			x.uploadFails(errBodyLarge)
			return
		case !u.replay.pass(buffer.room()[:n], !ready(body)):
			return
		}
		buffer.carried(n)
	}
}

// uploadFails ends the exchange for what the client did.
func (x *exchange) uploadFails(f *failure) {
	x.upload.fault.CompareAndSwap(nil, f)
	x.waits.interrupt()
}

// joinUpload waits for the goroutine, at most for as long as most says, and
// reports whether none runs any more.
func (x *exchange) joinUpload(most time.Duration) bool {
	u := &x.upload
	if !u.running {
		return true
	}
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-u.done:
		u.running = false
	case <-late.C:
	}
	return !u.running
}

// uploaded reports whether no goroutine runs any more, without a wait.
func (x *exchange) uploaded() bool {
	if u := &x.upload; u.running {
		select {
		case <-u.done:
			u.running = false
		default:
		}
	}
	return !x.upload.running
}

// endUpload ends what is still uploaded when the exchange is over. The client
// gets a while to see the answer, since it may have to send to its end first; where the
// codec takes care of that, nobody waits for it here.
func (x *exchange) endUpload() {
	if x.in.Length == 0 {
		return
	}
	if d, ok := x.client.(interface{ Drop() }); ok {
		d.Drop()
	}
	if x.joinUpload(drainTime) {
		return
	}
	x.client.Reset()
	<-x.upload.done
	x.upload.running = false
}
