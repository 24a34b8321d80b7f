// Package linetest is for tests of what a loopback hides: a line that takes its time.
package linetest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Relay listens, and passes what comes on to an address and back. It holds every byte back
// for delay, each way, and otherwise takes and gives whatever comes: its bandwidth
// has no limit, and nor has what is on its way. It ends with the test.
func Relay(t testing.TB, address string, delay time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{delay: delay}
	r.running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.join(near, address) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.close()
		r.running.Wait()
	})
	return l.Addr().String()
}

type relay struct {
	delay   time.Duration
	running sync.WaitGroup

	mu     sync.Mutex
	open   []net.Conn
	closed bool
}

// keep has c closed with the relay.
func (r *relay) keep(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = append(r.open, c)
	if r.closed {
		c.Close()
	}
}

func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, c := range r.open {
		c.Close()
	}
}

func (r *relay) join(near net.Conn, address string) {
	r.keep(near)
	far, err := net.Dial("tcp", address)
	if err != nil {
		near.Close()
		return
	}
	r.keep(far)
	r.running.Go(func() { r.carry(near, far) })
	r.carry(far, near)
}

// piece is what was read at once, and when it is to be written.
type piece struct {
	data []byte
	at   time.Time
	end  error // there is no more
}

// carry takes bytes from one connection as they come, and gives them to the other when
// their time has come.
func (r *relay) carry(from, to net.Conn) {
	var mu sync.Mutex
	var line []piece
	more := make(chan struct{}, 1)
	r.running.Go(func() {
		for {
			data := make([]byte, 64<<10)
			n, err := from.Read(data)
			mu.Lock()
			line = append(line, piece{data[:n], time.Now().Add(r.delay), err})
			mu.Unlock()
			select {
			case more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	})
	for {
		<-more
		for {
			mu.Lock()
			if len(line) == 0 {
				mu.Unlock()
				break
			}
			p := line[0]
			line = line[1:]
			mu.Unlock()
			time.Sleep(time.Until(p.at))
			if _, err := to.Write(p.data); err != nil {
				from.Close() // which ends the reading
			}
			switch p.end {
			case nil:
			case io.EOF:
				to.(*net.TCPConn).CloseWrite()
				return
			default:
				to.Close()
				return
			}
		}
	}
}
