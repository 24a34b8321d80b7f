package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/proxy/http1"
)

func TestAsk_SendsAndReads(t *testing.T) {
	ours, theirs := tcpPair(t)
	c := newTCPConn(ours).(*tcpConn)
	go func() {
		b := make([]byte, 8)
		n, _ := theirs.Read(b)
		theirs.Write(append(b[:n], '!'))
	}()
	sent := 0
	p := make([]byte, 16)
	n, rest, err := c.Ask([]byte("hello"), p, func() { sent++ })
	if err != nil || len(rest) > 0 || string(p[:n]) != "hello!" || sent != 1 {
		t.Errorf("%q, rest %q, error %v, told %d times", p[:n], rest, err, sent)
	}
	theirs.Close()
	if _, _, err := c.Ask([]byte("hello"), p, func() { sent++ }); err != http1.ErrUnasked || sent != 1 {
		t.Errorf("after its end: error %v, told %d times", err, sent)
	}
}

func TestAsk_SendsNothingWhereSomethingHadCome(t *testing.T) {
	for name, act := range map[string]func(net.Conn){
		"said": func(c net.Conn) { c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) },
		"end":  func(c net.Conn) { c.(*net.TCPConn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := tcpPair(t)
			c := newTCPConn(ours).(*tcpConn)
			act(theirs)
			var b [1]byte
			if _, err := (peeker{c}).Read(b[:]); err != nil && err != io.EOF { // it has come
				t.Fatal(err)
			}
			_, rest, err := c.Ask([]byte("hello"), make([]byte, 64), func() { t.Error("it is told that all was sent") })
			if err != http1.ErrUnasked || string(rest) != "hello" {
				t.Errorf("error %v, rest %q", err, rest)
			}
			c.Close()
			if got, _ := io.ReadAll(theirs); len(got) > 0 {
				t.Errorf("it was sent %q", got)
			}
		})
	}
}

func TestAsk_LeavesWhatHasNoRoom(t *testing.T) {
	ours, theirs := tcpPair(t)
	c := newTCPConn(ours).(*tcpConn)
	request := bytes.Repeat([]byte("x"), 16<<20)
	_, rest, err := c.Ask(request, make([]byte, 1), func() { t.Error("it is told that all was sent") })
	if err != nil || len(rest) == 0 || len(rest) == len(request) {
		t.Fatalf("rest %d, error %v", len(rest), err)
	}
	c.Close()
	if n, _ := io.Copy(io.Discard, theirs); n != int64(len(request)-len(rest)) {
		t.Errorf("%d bytes have come, and %d are said to be left", n, len(rest))
	}
}

func TestAsk_WaitsAgainAfterADeadline(t *testing.T) {
	ours, theirs := tcpPair(t)
	c := newTCPConn(ours).(*tcpConn)
	c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	p := make([]byte, 16)
	_, rest, err := c.Ask([]byte("hello"), p, func() {})
	if !errors.Is(err, os.ErrDeadlineExceeded) || len(rest) > 0 {
		t.Fatalf("rest %q, error %v", rest, err)
	}
	c.SetReadDeadline(past)
	if _, rest, err = c.Ask([]byte("again"), p, func() {}); !errors.Is(err, os.ErrDeadlineExceeded) || string(rest) != "again" {
		t.Fatalf("with a deadline in the past: rest %q, error %v", rest, err)
	}
	c.Close()
	if got, _ := io.ReadAll(theirs); string(got) != "hello" {
		t.Errorf("it was sent %q", got)
	}
}

// peeker reads what a connection has to read, and leaves it there.
type peeker struct{ c *tcpConn }

func (p peeker) Read(b []byte) (n int, err error) {
	t := transfer{p: b}
	if failed := p.c.raw.Read(func(fd uintptr) bool { return t.try(unix.SYS_RECVFROM, fd, unix.MSG_PEEK) }); failed != nil {
		return 0, failed
	}
	if t.n == 0 && t.err == nil {
		return 0, io.EOF
	}
	return t.n, t.err
}
