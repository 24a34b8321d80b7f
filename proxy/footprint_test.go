package proxy

import (
	"io"
	"net/http"
	"net/netip"
	"testing"

	"sallyport/proxy/memory"
)

// hog has a client hold all but so much of a server's memory.
func (f *front) hog(address string, left int64) (letGo func()) {
	b := f.server.memory
	c := b.Client(netip.MustParseAddr(address))
	n := int(b.Limit() - b.Used() - left)
	c.Take(n)
	return func() {
		c.Take(-n)
		c.Release()
	}
}

func smallMemory(c *Config) { c.Memory = 64 << 20 }

// A client that holds most has to give way; who holds nothing is served.
func TestMemory_AClientThatMustGiveWayGetsNoConnection(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, smallMemory)
	letGo := f.hog("127.0.0.1", 4<<20)
	if res, err := f.client("h1").Get(base); err == nil {
		text(t, res)
		t.Error("it was served")
	}
	if n := f.server.memory.Rationed(memory.ConnectionRefused); n == 0 {
		t.Error("it is not counted")
	}
	letGo()
	other := f.hog("192.0.2.1", 4<<20)
	defer other()
	res, err := f.client("h1").Get(base)
	if err != nil {
		t.Fatal("a client that holds nothing: ", err)
	}
	text(t, res)
}

func TestMemory_IdleConnectionsAreClosed(t *testing.T) {
	pool, _ := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {}))
	f := serve(t, pool, smallMemory)
	c := f.client("h2")
	res, err := c.Get(base)
	if err != nil {
		t.Fatal(err)
	}
	text(t, res)
	letGo := f.hog("127.0.0.1", 1<<20)
	defer letGo()
	eventually(t, "the connection is closed", func() bool { return f.server.clients.count() == 0 })
	if n := f.server.memory.Rationed(memory.ConnectionClosed); n == 0 {
		t.Error("it is not counted")
	}
	f.log.until(t, "memory is short: clients that hold most are rationed")
}

// What connections hold is given back with them.
func TestMemory_NothingIsHeldInTheEnd(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	if l, used := f.server.memory.Limit(), f.server.memory.Used(); l < 1<<20 || used != 0 {
		t.Errorf("the limit is %d, %d are used", l, used)
	}
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		res, err := c.Post(base, "", zeroes(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if used := f.server.memory.Used(); used < connBytes {
			t.Errorf("%d are used", used)
		}
		c.CloseIdleConnections()
		eventually(t, "all is given back", func() bool { return f.server.memory.Used() == 0 })
	})
}
