package proxy

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"sallyport/proxy/http2"
	"sallyport/proxy/message"
)

// stream is the link of a request whose backend speaks HTTP/2: a call with
// patience. Like a socket it looks, when it has waited for a step to be read from, whether
// anybody still wants what it waits for, and waits on where somebody tells.
type stream struct {
	*http2.Call
	conn    *http2.ClientConn
	of      *sharedConns
	address string
	x       *exchange

	sent     atomic.Int64 // when the request had been sent as a whole, since epoch; 0: it has not
	answered bool         // a head has come
	slow     bool         // the backend let a timeout pass
	tunnel   bool
	within   time.Duration // that the call waits for; 0: a step
}

// look is how long a step of a stream's wait is.
func (p *Pool) look() time.Duration { return min(lookEvery, p.ResponseTimeout, p.SilenceTimeout) }

// WriteHead implements message.Call. The head of a tunnel has no end, and nothing
// comes behind it to leave with.
func (s *stream) WriteHead(r *message.Request, end bool) error {
	tunnel := len(r.Protocol) > 0
	if err := s.Call.WriteHead(r, end && !tunnel); err != nil {
		return err
	}
	if tunnel {
		s.sent.Store(int64(time.Since(epoch)))
		return s.Call.WriteBody(nil, true)
	}
	if end {
		s.sent.Store(int64(time.Since(epoch)))
	}
	return nil
}

// End implements message.Sender.
func (s *stream) End(trailers []message.Field) error {
	err := s.Call.End(trailers)
	if err == nil {
		s.sent.Store(int64(time.Since(epoch)))
	}
	return err
}

// ReadHead implements message.Call. A backend that makes the tunnel it was asked
// for switches protocols, whatever HTTP/2 calls that.
func (s *stream) ReadHead() (*message.Response, error) {
	began := time.Since(epoch)
	for {
		head, err := s.Call.ReadHead()
		switch {
		case err == nil:
			s.answered = true
			if len(s.x.out.Protocol) > 0 && head.Status/100 == 2 {
				s.tunnel = true
				head.Status, head.Protocol = 101, s.x.out.Protocol
			}
			return head, nil
		case err != http2.ErrNothing:
			return nil, err
		}
		var waited time.Duration
		if sent := time.Duration(s.sent.Load()); sent > 0 {
			waited = time.Since(epoch) - max(sent, began)
		}
		if err := s.look(waited, s.of.pool.ResponseTimeout); err != nil {
			return nil, err
		}
		s.waitOn(s.of.pool.ResponseTimeout - waited)
	}
}

// Body implements message.Call.
func (s *stream) Body() message.Body { return s }

// Read implements message.Body. A tunnel has a timeout of its own.
func (s *stream) Read(p []byte) (int, error) {
	var began time.Duration
	if s.within != 0 {
		s.waitOn(s.of.pool.SilenceTimeout)
	}
	for {
		n, err := s.Call.Read(p)
		if err != http2.ErrNothing {
			return n, err
		}
		now := time.Since(epoch)
		if began == 0 {
			began = now - s.step()
		}
		waited := now - began
		if s.tunnel {
			waited = 0
		}
		if err := s.look(waited, s.of.pool.SilenceTimeout); err != nil {
			return 0, err
		}
		s.waitOn(s.of.pool.SilenceTimeout - waited)
	}
}

// step is how long the call waits.
func (s *stream) step() time.Duration {
	if s.within != 0 {
		return s.within
	}
	return s.of.pool.look()
}

// waitOn has the call wait for so long, where somebody tells when the client leaves.
func (s *stream) waitOn(limit time.Duration) {
	s.x.watchClient()
	if s.x.watched && s.within != limit {
		s.within = limit
		s.ReadWithin(limit)
	}
}

// look says why a wait that has lasted so long goes on no longer.
func (s *stream) look(waited, limit time.Duration) error {
	if why := s.x.left(); why != nil {
		return why
	}
	if s.slow = waited >= limit; s.slow {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// interrupt implements link: the backend learns at once that nobody waits for
// the answer.
func (s *stream) interrupt() { s.Call.Close() }

// again implements link.
func (s *stream) again(err error) again {
	var reset *http2.ResetError
	switch {
	case errors.Is(err, http2.ErrUnprocessed):
		return all
	case !s.answered && !s.conn.Alive() && !isTimeout(err) && !errors.As(err, &reset):
		return idempotentOnes
	}
	return none
}

// release implements link. A connection that may hang takes no further requests.
func (s *stream) release(bool) {
	s.Call.Close()
	s.of.freed(s.address)
	if s.slow {
		s.conn.Retire()
	}
}
