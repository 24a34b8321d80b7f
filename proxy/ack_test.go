package proxy

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAckSoon_OnceSomethingIsWaitedFor(t *testing.T) {
	ours, theirs := tcpPair(t)
	c := newTCPConn(ours).(*tcpConn)
	prompt := func() (n int) {
		t.Helper()
		var err error
		if failed := c.raw.Control(func(fd uintptr) {
			n, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK)
		}); failed != nil || err != nil {
			t.Fatal(failed, err)
		}
		return n
	}
	b := make([]byte, 8)
	talk := func() {
		t.Helper()
		if _, err := theirs.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; prompt() != 0; n++ { // the kernel sees by and by that acknowledgements can wait
		if n > 100 {
			t.Fatal("the kernel acknowledges at once, whatever is said")
		}
		talk()
	}
	ackSoon(c)
	if prompt() != 0 {
		t.Error("it acknowledges before it waits")
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(b)
		done <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); prompt() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it waits, and does not acknowledge at once")
		}
	}
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
