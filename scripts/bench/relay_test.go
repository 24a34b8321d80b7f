package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// startPeer listens, and has each connection served by a function.
func startPeer(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

func dialLine(t *testing.T, target string) *net.TCPConn {
	t.Helper()
	l, err := newLine(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	c, err := net.Dial("tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// Nothing comes earlier than it may, in either direction, and it comes whole. No
// number of bytes on their way holds up the sender, who has sent all of them before
// the first is there.
func TestLine_HoldsEveryByteBack(t *testing.T) {
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	allSent := make(chan struct{})
	heard := make(chan [sha256.Size]byte, 1)
	target := startPeer(t, func(c *net.TCPConn) {
		defer c.Close()
		<-allSent
		got, _ := io.ReadAll(c)
		heard <- sha256.Sum256(got)
		_, _ = c.Write(got)
	})
	c := dialLine(t, target)
	began := time.Now()
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(allSent)
	if <-heard != sha256.Sum256(sent) {
		t.Error("the server got something else than what was sent")
	}
	if d := time.Since(began); d < lineDelay {
		t.Errorf("it was there after %v", d)
	}
	back, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back, sent) {
		t.Errorf("%d bytes came back, not the %d that were sent", len(back), len(sent))
	}
	if d := time.Since(began); d < 2*lineDelay {
		t.Errorf("the last was back after %v", d)
	}
}

// A line that is closed leaves nobody waiting.
func TestLine_CloseEndsItsConnections(t *testing.T) {
	accepted := make(chan struct{})
	target := startPeer(t, func(c *net.TCPConn) {
		defer c.Close()
		close(accepted)
		_, _ = io.Copy(io.Discard, c)
	})
	l, err := newLine(target)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-accepted
	l.close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("something came")
	}
	if _, err := net.Dial("tcp", l.address); err == nil {
		t.Error("the line still takes connections")
	}
}

// A connection that breaks does so at both ends.
func TestLine_PassesABreakOn(t *testing.T) {
	target := startPeer(t, func(c *net.TCPConn) {
		_ = c.SetLinger(0)
		c.Close()
	})
	c := dialLine(t, target)
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("reading ended with %v", err)
	}
}
