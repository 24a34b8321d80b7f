package proxy

import (
	"net"
	"os"
	"sync/atomic"
	"time"
)

// socket is a TCP connection to a backend that looks, when it has waited for a step to be read
// from, whether anybody still wants what it waits for. From then on the request is told when its
// client leaves (departures.go), and the wait goes on until its end. The codec
// above bounds the wait; here its deadline is kept, and set only where the wait is not
// made in steps. Their own deadlines are moved only when half of one has passed.
//
// Read belongs to the goroutine of the request that the connection serves. Who
// else interrupts it makes the connection good for nothing.
type socket struct {
	net.Conn // tcp
	tcp      *tcpConn
	x        *exchange // that waits

	until       atomic.Int64  // the codec's deadline, since epoch; 0: none
	step        time.Duration // the deadline in force, since epoch
	unstepped   bool          // it is until, as of a tunnel
	waiting     atomic.Bool   // such a wait is under way
	interrupted atomic.Bool
	heard       time.Duration // when the last read began that something came of, since epoch
}

// epoch is what times are counted from that are looked at for each request: on the
// monotonic clock alone, which is read twice as fast as time.Now reads both.
var epoch = time.Now()

// lookEvery is how long a step is.
const lookEvery = time.Second

// NetConn lets the codec find the TCP connection.
func (s *socket) NetConn() net.Conn { return s.Conn }

// SetReadDeadline keeps the deadline for Read. A wait that is under way learns of it after its
// step or, where it has none, at once.
func (s *socket) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		s.until.Store(0)
	} else {
		s.until.Store(int64(t.Sub(epoch)))
	}
	if !s.waiting.Load() {
		return nil
	}
	return s.bound(t)
}

// bound sets a deadline for reading, unless the wait was interrupted.
func (s *socket) bound(t time.Time) error {
	err := s.Conn.SetReadDeadline(t)
	if s.interrupted.Load() { // before, and its deadline is gone
		return s.Conn.SetReadDeadline(past)
	}
	return err
}

// Read fails with why the exchange is over, if it is, and with
// os.ErrDeadlineExceeded.
func (s *socket) Read(p []byte) (int, error) { return s.ask(nil, p, nil) }

// Ask implements http1.Asker, and fails as Read does.
func (s *socket) Ask(request, p []byte, sent func()) (int, error) { return s.ask(request, p, sent) }

// ask sends what is to be sent first, and reads.
func (s *socket) ask(request, p []byte, sent func()) (n int, err error) {
	for {
		now := time.Since(epoch)
		if err := s.setStep(now); err != nil {
			return 0, err
		}
		if len(request) == 0 {
			n, err = s.Conn.Read(p)
		} else if n, request, err = s.tcp.Ask(request, p, sent); err == nil && len(request) > 0 {
			if _, err = s.Conn.Write(request); err != nil {
				return 0, err
			}
			sent()
			request = nil
			continue
		}
		if s.unstepped {
			s.waiting.Store(false)
		}
		if n > 0 || !isTimeout(err) {
			s.heard = now
			return n, err
		}
		s.step, s.unstepped = 0, false
		if err := s.over(); err != nil {
			return 0, err
		}
	}
}

// over says why a wait whose deadline has passed does not go on.
func (s *socket) over() error {
	tunnel := s.x.tunnel != nil
	if !tunnel {
		if why := s.x.left(); why != nil {
			return why
		}
	}
	if until := s.until.Load(); s.interrupted.Load() || until != 0 && int64(time.Since(epoch)) >= until {
		return os.ErrDeadlineExceeded
	}
	if !tunnel {
		s.x.watchClient()
	}
	return nil
}

// setStep sees to it that the wait is not longer than a step, nor than until.
func (s *socket) setStep(now time.Duration) error {
	if s.x.tunnel != nil || s.x.watched {
		return s.waitOn()
	}
	if s.unstepped {
		s.step, s.unstepped = 0, false
	}
	length := lookEvery
	if until := time.Duration(s.until.Load()); until != 0 {
		length = min(length, max(until-now, 0))
	}
	if left := s.step - now; left <= length && left >= min(length, lookEvery/2) {
		return nil
	}
	s.step = now + length
	return s.Conn.SetReadDeadline(epoch.Add(s.step))
}

// waitOn has a wait end at until, or never where that is 0. It is not made in steps: somebody
// tells when the client leaves, in a tunnel who reads from it. Meanwhile until may change.
func (s *socket) waitOn() error {
	s.waiting.Store(true)
	for until := time.Duration(s.until.Load()); !s.unstepped || s.step != until; until = time.Duration(s.until.Load()) {
		s.unstepped, s.step = true, until
		var at time.Time
		if until != 0 {
			at = epoch.Add(until)
		}
		if err := s.bound(at); err != nil {
			return err
		}
	}
	return nil
}

// interrupt wakes who waits in Read or Write.
func (s *socket) interrupt() {
	s.interrupted.Store(true)
	_ = s.Conn.SetDeadline(past) // it is closed already, or it wakes
}

// past is a deadline that interrupts what is under way.
var past = time.Unix(1, 0)

// CloseWrite passes a tunnel's half-close on.
func (s *socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.Conn.Close()
}
