package http2

import (
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// A client that has sent a few bytes and reads nothing has only little kept for it, though
// its windows are open; one that reads gets all.
func TestServer_KeepsLittleForAClientThatDoesNotRead(t *testing.T) {
	const length = 1 << 20
	var sent atomic.Int64
	done := make(chan error, 1)
	server, client := net.Pipe() // which keeps nothing
	defer client.Close()
	c := NewServerConn(server, Config{}, func(e message.Exchange) {
		done <- func() error {
			if err := e.WriteHead(&message.Response{Status: 200, Length: length}, false); err != nil {
				return err
			}
			for sent.Load() < length {
				n, err := e.(interface{ AwaitRoom() (int, error) }).AwaitRoom()
				if err != nil {
					return err
				}
				n = min(n, length-int(sent.Load()), 32<<10)
				if err := e.WriteBody(make([]byte, n), true); err != nil {
					return err
				}
				sent.Add(int64(n))
			}
			return e.End(nil)
		}()
	})
	ended := make(chan error, 1)
	go func() { ended <- c.Run() }()
	go func() {
		f := http2.NewFramer(client, nil)
		io.WriteString(client, http2.ClientPreface)
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
		f.WriteSettingsAck()
		f.WriteWindowUpdate(0, maxWindow-65535)
		client.Write(cheapRequests(1, 1))
	}()
	waiting := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.out.waiters > 0
	}
	eventually(t, "the handler has to wait", waiting)
	c.mu.Lock()
	pending, limit := len(c.out.pending), c.pendingLimit()
	c.mu.Unlock()
	if limit >= outSmall || pending > limit+1<<10 || sent.Load() > 2*int64(limit) {
		t.Errorf("%d bytes were taken, and %d wait; the limit is %d", sent.Load(), pending, limit)
	}
	go io.Copy(io.Discard, client)
	if err := <-done; err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	if limit := c.pendingLimit(); limit != maxPending {
		t.Errorf("for a client that has read %d bytes the limit is %d", length, limit)
	}
	c.mu.Unlock()
	client.Close()
	<-ended
}
