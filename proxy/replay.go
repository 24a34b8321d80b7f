package proxy

import (
	"errors"
	"sync"
	"sync/atomic"

	"sallyport/proxy/message"
)

// replay is what has come of a streamed body, as long as that is little and no response has
// begun: a request that a backend did not process, because it was about to close its
// connection (RFC 9113 §6.8) or refused it (§8.7), is sent again with it. The client's
// part is read by the upload's goroutine all the while, whichever call it goes to.
type replay struct {
	lost atomic.Bool // more has come than is kept, or it is not needed any more

	mu       sync.Mutex
	call     message.Call // that the body goes to; nil: it failed
	kept     freight
	n        int  // bytes in it
	ended    bool // all has come
	trailers []message.Field
	refused  int // bytes that no call took
}

// keptBody is how much of a body is kept. A backend's window takes as much at once.
const keptBody = 64 << 10

var errBodyLost = errors.New("more of the body was sent than is kept")

// begin has the body go to a call.
func (r *replay) begin(c message.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call = c
}

// pass passes a piece on, and keeps it. It is false where no call has taken any for so long
// that nobody needs the rest.
func (r *replay) pass(p []byte, flush bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(p)
	if r.call != nil && r.call.WriteBody(p, flush) != nil {
		r.call = nil
	}
	if r.call == nil && r.lost.Load() {
		r.refused += len(p)
	}
	return r.refused <= drainBytes
}

func (r *replay) keep(p []byte) {
	if r.n+len(p) > keptBody {
		r.lost.Store(true)
	}
	if r.lost.Load() {
		r.kept.free()
		r.n = 0
		return
	}
	for r.n+len(p) > len(r.kept.room()) {
		r.kept.grow()
	}
	r.n += copy(r.kept.room()[r.n:], p)
}

// end passes the body's end on. What comes of it, the response tells.
func (r *replay) end(trailers []message.Field) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended, r.trailers = true, trailers
	if r.call != nil {
		_ = r.call.End(trailers)
	}
}

// again has the body go to another call, from its beginning. The one before has ended, so
// that nobody waits in it.
func (r *replay) again(c message.Call) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost.Load() {
		return errBodyLost
	}
	if r.n > 0 {
		if err := c.WriteBody(r.kept.room()[:r.n], true); err != nil {
			return err
		}
	}
	r.call = c
	if r.ended {
		return c.End(r.trailers)
	}
	return nil
}

// reset is for the next request. The upload's goroutine has ended.
func (r *replay) reset() {
	r.kept.free()
	r.lost.Store(false)
	r.call, r.kept, r.n, r.ended, r.trailers, r.refused = nil, freight{}, 0, false, nil, 0
}
