package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
)

// sends tells in which pieces a connection was written to.
type sends struct {
	net.Conn
	more  *tcpConn
	sizes []int
	kept  []bool
}

func (s *sends) Write(p []byte) (int, error) {
	s.sizes = append(s.sizes, len(p))
	s.kept = append(s.kept, s.more.more.Load())
	return s.Conn.Write(p)
}

func TestRecords_LeaveWithTheLastOfThem(t *testing.T) {
	ours, theirs := tcpPair(t)
	socket := newTCPConn(ours).(*tcpConn)
	seen := &sends{Conn: socket, more: socket}
	server := tls.Server(seen, &tls.Config{Certificates: []tls.Certificate{newCertificate(t, "a.test").cert}, DynamicRecordSizingDisabled: true})
	client := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	r := newRecords(server, socket)
	for _, size := range []int{1, recordSize - 1, recordSize, recordSize + 1, 2 * recordSize, 4*recordSize - 1, 4 * recordSize, 4*recordSize + 1} {
		seen.sizes, seen.kept = nil, nil
		sent := bytes.Repeat([]byte{byte(size)}, size)
		written := make(chan error, 1)
		go func() {
			_, err := r.Write(sent)
			written <- err
		}()
		got := make([]byte, size)
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes arrive otherwise, error %v", size, err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		records := (size + recordSize - 1) / recordSize
		if len(seen.kept) != records {
			t.Fatalf("%d bytes went in pieces of %d", size, seen.sizes)
		}
		for i, kept := range seen.kept {
			if kept != (i < records-1) {
				t.Errorf("of %d bytes the records were kept back: %v", size, seen.kept)
				break
			}
		}
	}
}

// tcpPair is a connection's two ends.
func tcpPair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return ours, theirs
}
