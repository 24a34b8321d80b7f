package http2

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// trap is a connection that panics once it is set, when something has been read or
// is to be written.
type trap struct {
	net.Conn
	read, write atomic.Bool
}

func (t *trap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if t.read.Swap(false) {
		panic("read")
	}
	return n, err
}

func (t *trap) Write(p []byte) (int, error) {
	if t.write.Swap(false) {
		panic("write")
	}
	return t.Conn.Write(p)
}

// TestPanic_OfABackendsConnectionFailsItsCalls has calls wait that a panic ends.
func TestPanic_OfABackendsConnectionFailsItsCalls(t *testing.T) {
	for _, in := range []string{"read", "write"} {
		t.Run(in, func(t *testing.T) {
			here, there := net.Pipe()
			defer there.Close()
			go func() {
				h := http2.NewFramer(there, there)
				there.Read(make([]byte, len(http2.ClientPreface)))
				for {
					fr, err := h.ReadFrame()
					if err != nil {
						return
					}
					if s, ok := fr.(*http2.SettingsFrame); ok && !s.IsAck() {
						h.WriteSettings()
					}
					if fr.Header().Type == http2.FrameHeaders {
						h.WritePing(false, [8]byte{})
					}
				}
			}()
			nc := &trap{Conn: here}
			told := make(chan any, 10)
			c := NewClientConn(nc, Config{Panicked: func(v any) { told <- v }})
			ended := make(chan error, 1)
			go func() { ended <- c.Run() }()
			if err := c.Settled(); err != nil {
				t.Fatal(err)
			}
			k, err := c.NewCall()
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			if in == "read" {
				nc.read.Store(true)
			} else {
				nc.write.Store(true)
			}
			k.WriteHead(&message.Request{Method: []byte("GET"), Path: []byte("/"), Authority: []byte("x")}, true)
			if _, err := k.ReadHead(); err == nil {
				t.Error("an answer?")
			}
			if v := <-told; v != in {
				t.Errorf("told of %v", v)
			}
			<-ended
			if c.Alive() {
				t.Error("it takes calls")
			}
		})
	}
}

// TestPanic_OfAHandlerEndsItsConnection is about one that nobody has recovered before.
func TestPanic_OfAHandlerEndsItsConnection(t *testing.T) {
	told := make(chan any, 10)
	f := serve(t, Config{Panicked: func(v any) { told <- v }}, func(message.Exchange) { panic("handler") })
	c := f.dial(t)
	c.request(1, true, plain...)
	if v := <-told; v != "handler" {
		t.Errorf("told of %v", v)
	}
	var ce *ConnError
	if err := f.ended(t, 1)[0]; !errors.As(err, &ce) || ce.Code != http2.ErrCodeInternal {
		t.Errorf("it ended with %v", err)
	}
}
