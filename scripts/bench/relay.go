package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// lineDelay is how far away the clients of a line are, in one direction.
const lineDelay = 50 * time.Millisecond

const (
	lineChunk = 64 << 10
	// lineChunks bounds what is on its way in one direction of a connection. It is
	// more than the largest body takes: a line has no narrowest point of its own.
	lineChunks = 2048
)

// line is a relay in front of a server that holds every byte back for lineDelay,
// in both directions, and a connection's end likewise. It delays neither TCP's own
// handshake nor its acknowledgements: what it shows is the round trips of the
// protocols above, and their windows.
type line struct {
	address  string // where clients connect
	target   string
	listener net.Listener
	relays   sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

// newLine opens a line to target. The caller closes it.
func newLine(target string) (*line, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &line{address: listener.Addr().String(), target: target, listener: listener, open: make(map[net.Conn]struct{})}
	l.relays.Go(l.accept)
	return l, nil
}

func (l *line) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		l.relays.Go(func() { l.relay(near) })
	}
}

func (l *line) relay(near net.Conn) {
	defer l.drop(near)
	if !l.hold(near) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	far, err := new(net.Dialer).DialContext(ctx, "tcp", l.target)
	cancel()
	if err != nil {
		return // the client sees its connection end
	}
	defer l.drop(far)
	if !l.hold(far) {
		return
	}
	var ways sync.WaitGroup
	ways.Go(func() { carry(far, near) })
	ways.Go(func() { carry(near, far) })
	ways.Wait()
}

// hold notes a connection that close has to end, unless it has ended all.
func (l *line) hold(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.open[c] = struct{}{}
	}
	return !l.closed
}

func (l *line) drop(c net.Conn) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

// close ends the line and every connection on it.
func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	for c := range l.open {
		c.Close()
	}
	l.mu.Unlock()
	l.listener.Close()
	l.relays.Wait()
}

// delayed is what came at once, and when it goes on.
type delayed struct {
	bytes []byte
	due   time.Time
	end   error // in place of bytes: reading has ended, with io.EOF in the good case
}

// carry passes on what it reads, each piece lineDelay after it came. Reading never
// waits for writing, so that pieces are on their way one behind the other.
func carry(to, from net.Conn) {
	pieces := make(chan delayed, lineChunks)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(pieces)
		for {
			b := make([]byte, lineChunk)
			n, err := from.Read(b)
			if n > 0 {
				pieces <- delayed{bytes: shrink(b[:n]), due: time.Now().Add(lineDelay)}
			}
			if err != nil {
				pieces <- delayed{end: err, due: time.Now().Add(lineDelay)}
				return
			}
		}
	})
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		var err error
		switch {
		case p.end == nil:
			_, err = to.Write(p.bytes)
		case errors.Is(p.end, io.EOF):
			err = to.(*net.TCPConn).CloseWrite()
		default:
			err = p.end
		}
		if err != nil {
			to.Close()
			from.Close() // ends the reader
		}
	}
	reader.Wait()
}

// shrink lets a small piece not hold the memory of a large one.
func shrink(b []byte) []byte {
	if len(b) > lineChunk/4 {
		return b
	}
	return append([]byte(nil), b...)
}
