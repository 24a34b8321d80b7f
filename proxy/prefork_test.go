package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// prefork starts a backend with so many workers, each of which serves one connection after the
// other, until that ends: never by itself, where a real one waits for five seconds or so.
func prefork(t testing.TB, workers int, do http.HandlerFunc) (address string, served func() int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns atomic.Int64
	open := map[net.Conn]bool{}
	for range workers {
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				conns.Add(1)
				mu.Lock()
				open[c] = true
				mu.Unlock()
				in := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						break
					}
					body := fmt.Sprintf("served %s", r.URL.Path)
					if do != nil {
						do(nil, r)
					}
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nKeep-Alive: timeout=3600, max=1000\r\n\r\n%s", len(body), body)
				}
				c.Close()
			}
		})
	}
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String(), conns.Load
}

// together makes n requests at once and waits for all responses.
func together(t testing.TB, client *http.Client, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			path := fmt.Sprintf("/%d", i)
			res, err := client.Get(base + path)
			if err != nil {
				t.Error(err)
				return
			}
			if got := text(t, res); got != "served "+path {
				t.Errorf("got %q", got)
			}
		})
	}
	all.Wait()
}

// A server with a process for each connection has its processes for those who wait: none is
// held by a connection that is kept for nobody.
func TestPrefork_WorkersServeWhoWaits(t *testing.T) {
	for _, tc := range []struct{ workers, requests int }{{1, 12}, {2, 30}, {80, 90}} {
		t.Run(fmt.Sprintf("%d workers, %d requests", tc.workers, tc.requests), func(t *testing.T) {
			address, _ := prefork(t, tc.workers, nil)
			f := serve(t, &Pool{Name: "web", Balancer: only(address)}, quiet)
			client := f.client("h2")
			together(t, client, tc.requests)
			together(t, client, tc.requests) // with some kept
		})
	}
}

func TestPrefork_FewAreKept(t *testing.T) {
	for most, want := range map[int]int{20: 20, 3: 3, -1: 0} {
		hold := make(chan struct{})
		var arrived sync.WaitGroup
		arrived.Add(40)
		address, _ := prefork(t, 40, func(http.ResponseWriter, *http.Request) { arrived.Done(); <-hold })
		f := serve(t, &Pool{Name: "web", Balancer: only(address), MaxIdle: most}, quiet)
		go func() { arrived.Wait(); close(hold) }()
		together(t, f.client("h2"), 40)
		cs := f.server.forwarders[0].links.(*connections)
		cs.sweep(time.Now().Add(surplusKeep))
		if n := idleOf(cs, address); n > want {
			t.Errorf("%d of 40 are kept, want %d at most", n, want)
		}
	}
}

func idleOf(cs *connections, address string) int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.of(address).idle)
}

// A load that goes on uses what it has used before, however few are kept behind it; then those go
// that have not been used for the longest time.
func TestConnections_ASurplusIsKeptForAMoment(t *testing.T) {
	at := time.Now()
	cs := newConnections(Pool{MaxIdle: 2, IdleTimeout: time.Hour}, nil)
	defer cs.close()
	var all []*backendConn
	for n := range 5 {
		ours, theirs := tcpPair(t)
		defer theirs.Close()
		c := cs.made(ours, "backend")
		c.idle, c.keep = at.Add(time.Duration(n)*time.Millisecond).Sub(epoch), time.Hour
		all = append(all, c)
		if !cs.keep(c) {
			t.Fatalf("%d: it was not kept", n)
		}
	}
	cs.sweep(at.Add(surplusKeep / 2))
	if n := idleOf(cs, "backend"); n != 5 {
		t.Errorf("%d are kept behind a burst of 5", n)
	}
	cs.sweep(at.Add(2 * surplusKeep))
	if n := idleOf(cs, "backend"); n != 2 {
		t.Errorf("%d are kept a moment later", n)
	}
	for _, want := range []*backendConn{all[4], all[3]} {
		if cs.pop("backend") != want {
			t.Error("it is not the one that was used last")
		}
	}
	cs.drop(all[3])
	cs.drop(all[4])
}

// A request that waits for a connection takes one that falls idle.
func TestPrefork_WaitingRequestTakesWhatFallsIdle(t *testing.T) {
	address := deaf(t) // no further connection comes about
	ours, theirs := tcpPair(t)
	defer theirs.Close()
	pool, _ := poolOf(t, address)
	pool.ConnectTimeout = patience
	var cs *connections
	f := serveMade(t, pool, func(s *Server) {
		cs = s.forwarders[0].links.(*connections)
		c := cs.made(ours, address)
		c.keep, c.idle = patience*1000, 0
		cs.open[c] = struct{}{}
		cs.of(address).idle = append(cs.of(address).idle, c)
	})
	in := bufio.NewReader(theirs)
	answer := func() string {
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatal(err)
		}
		return r.URL.Path
	}
	client := f.client("h2")
	done := make(chan string, 2)
	get := func(path string) {
		res, err := client.Get(base + path)
		if err != nil {
			t.Error(err)
			done <- ""
			return
		}
		done <- text(t, res)
	}
	go get("/first")
	if got := answer(); got != "/first" {
		t.Fatalf("asked for %s", got)
	}
	go get("/second")
	for waiting := 0; waiting == 0; {
		cs.mu.Lock()
		waiting = len(cs.of(address).waiting)
		cs.mu.Unlock()
	}
	for _, want := range []string{"/first", "/second"} {
		if want == "/second" {
			if got := answer(); got != want {
				t.Fatalf("asked for %s", got)
			}
		}
		io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"+want[:6]+"!")
		if got := await(t, "the response", done); got != want[:6]+"!" {
			t.Errorf("got %q", got)
		}
	}
}

func TestConnections_HeedKeepAlive(t *testing.T) {
	for value, kept := range map[string]bool{
		"timeout=5": true, "timeout=5, max=99": true, "max=99": true, "timeout=60,max=1": true, "nonsense": true, "timeout=x": true, "": true,
		"timeout=0": false, "max=0": false, "timeout=5, max=0": false, "Max=0": false, "timeout = 0": false,
	} {
		var conns atomic.Int64
		address := rawBackend(t, func(c net.Conn) {
			conns.Add(1)
			in := bufio.NewReader(c)
			for {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: "+value+"\r\n\r\n")
			}
		})
		f := serve(t, &Pool{Name: "web", Balancer: only(address)}, quiet)
		client := f.client("h1")
		for range 2 {
			if got := outcome(client, "/"); got != "200" {
				t.Errorf("%q: %s", value, got)
			}
		}
		if got := conns.Load() == 1; got != kept {
			t.Errorf("%q: %d connections", value, conns.Load())
		}
	}
}
