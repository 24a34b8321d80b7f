package http1

import (
	"bytes"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"sallyport/proxy/message"
)

func TestExchange_RoomIsThereWhenTheClientReads(t *testing.T) {
	here, there := pair(t)
	conn := NewServerConn(here, Config{}.WithDefaults())
	defer conn.Close()
	send(t, there, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	x, err := conn.Next()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := x.AwaitRoom(); n <= 0 || err != nil {
		t.Fatalf("at first: room for %d, error %v", n, err)
	}
	// What the kernels keep is filled up.
	raw, err := here.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	filled, piece := 0, make([]byte, 64<<10)
	if err := raw.Control(func(fd uintptr) {
		for {
			n, err := unix.Write(int(fd), piece)
			if err != nil {
				return
			}
			filled += n
		}
	}); err != nil {
		t.Fatal(err)
	}
	room := make(chan error, 1)
	go func() {
		_, err := x.AwaitRoom()
		room <- err
	}()
	select {
	case err := <-room:
		t.Errorf("there is room behind %d bytes that nobody has read: %v", filled, err)
	default:
	}
	if _, err := io.CopyN(io.Discard, there, int64(filled)); err != nil {
		t.Fatal(err)
	}
	if err := await(t, room); err != nil {
		t.Error(err)
	}
	if err := x.WriteHead(&message.Response{Status: 204}, true); err != nil {
		t.Error(err)
	}
	line := make([]byte, len("HTTP/1.1 204"))
	if _, err := io.ReadFull(there, line); err != nil || !bytes.Equal(line, []byte("HTTP/1.1 204")) {
		t.Errorf("%q, error %v", line, err)
	}
}

func TestExchange_NoRoomForAClientThatIsGone(t *testing.T) {
	here, there := pair(t)
	conn := NewServerConn(here, Config{}.WithDefaults())
	send(t, there, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	x, err := conn.Next()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := x.AwaitRoom(); err == nil {
		t.Error("room on a closed connection")
	}
}
