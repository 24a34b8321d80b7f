package proxy

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnsent_GrowsWithWhatWasSent(t *testing.T) {
	raw, client := tcpPair(t)
	go io.Copy(io.Discard, client)
	c := newTCPConn(raw).(*tcpConn)
	bound := func() (n int) {
		t.Helper()
		var err error
		if failed := c.raw.Control(func(fd uintptr) {
			n, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
		}); failed != nil || err != nil {
			t.Fatal(failed, err)
		}
		return n
	}

	boundUnsent(c)
	for sent := 0; sent < unsentAfter; sent += firstUnsent {
		if n := bound(); n != firstUnsent {
			t.Fatalf("after %d bytes it is %d", sent, n)
		}
		if _, err := c.Write(make([]byte, firstUnsent)); err != nil {
			t.Fatal(err)
		}
	}
	if n := bound(); n != laterUnsent {
		t.Errorf("in the end it is %d", n)
	}
}
