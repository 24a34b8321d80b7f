package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestNotify_SystemdThatReadsNothing has the queue of the socket be full.
func TestNotify_SystemdThatReadsNothing(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	const queue = 1 << 16 // more than any machine's net.unix.max_dgram_qlen
	told := 0
	for ; err == nil && told < queue; told++ {
		err = tellSystemd(socket, "READY=1", time.Now().Add(50*time.Millisecond))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after %d messages: %v, want the deadline", told, err)
	}
	state := make([]byte, 64)
	n, err := l.Read(state)
	if err != nil || string(state[:n]) != "READY=1" {
		t.Errorf("systemd was told %q, %v", state[:n], err)
	}
}
