package proxy

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// A full handshake costs the token a signature, and is worth it for a request. A client that
// fails and dials again at once, such as one whose request is malformed or one that
// distrusts the certificate, can ask for hundreds a second and never make one. So it is
// counted, by client network, how many full handshakes came to no well-formed request. A
// network has some of them for nothing: browsers open connections ahead of need, and balancers
// look whether the port answers. Of one that has more, each further signature is asked for a
// moment later. None is refused.
const (
	unusedFree    = 100                      // for nothing,
	unusedRate    = 5                        // and so many more a second
	unusedWait    = time.Second / unusedRate // between two signatures beyond that,
	unusedMost    = time.Second              // and at most so long for each
	unusedRequest = 4                        // how many a connection with a request makes good
	unusedClients = 4096                     // networks that are known; a bound for memory
)

// unused is the account of full handshakes without a request.
type unused struct {
	mu      sync.Mutex
	clients map[netip.Addr]*unusedOf
	told    time.Time
}

// unusedTold is the least time between two lines in the log on this.
const unusedTold = time.Minute

// tells reports whether it is time for one.
func (a *unused) tells(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.told.IsZero() && now.Sub(a.told) < unusedTold {
		return false
	}
	a.told = now
	return true
}

// unusedOf is a network's part of it.
type unusedOf struct {
	level float64 // as of at
	at    time.Time
	next  time.Time // when its next signature may be asked for
}

// leak lowers the level by what is free since it was last looked at.
func (u *unusedOf) leak(now time.Time) float64 {
	u.level = max(0, u.level-unusedRate*now.Sub(u.at).Seconds())
	u.at = now
	return u.level
}

// count notes that a connection ended for which a signature was made, and that had no request.
func (a *unused) count(client netip.Addr, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.clients[client]
	if u == nil {
		if a.clients == nil {
			a.clients = make(map[netip.Addr]*unusedOf)
		}
		if len(a.clients) >= unusedClients {
			a.forget(now)
		}
		u = &unusedOf{at: now}
		a.clients[client] = u
	}
	u.level = min(u.leak(now)+1, 2*unusedFree)
}

// forget makes room: of a few networks, whichever they are, the one with the least goes.
func (a *unused) forget(now time.Time) {
	var least netip.Addr
	looked := 0
	for client, u := range a.clients {
		if looked == 0 || u.leak(now) < a.clients[least].level {
			least = client
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(a.clients, least)
}

// credit notes the first request of a connection for which a signature was made.
func (a *unused) credit(client netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.clients[client]; u != nil {
		if u.level -= unusedRequest; u.level <= 0 {
			delete(a.clients, client)
		}
	}
}

// wait is how long a client's next signature is to wait before it is asked for.
func (a *unused) wait(client netip.Addr, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.clients[client]
	if u == nil || u.leak(now) <= unusedFree {
		return 0
	}
	next := now
	if u.next.After(now) {
		next = u.next
	}
	next = next.Add(unusedWait)
	if latest := now.Add(unusedMost); next.After(latest) {
		next = latest
	}
	u.next = next
	return next.Sub(now)
}

// sweep forgets networks that have none of late.
func (a *unused) sweep(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for client, u := range a.clients {
		if u.leak(now) == 0 {
			delete(a.clients, client)
		}
	}
}

// networkOf is an address, or an IPv6 network of 64 bits, which a single client mostly has to
// itself.
func networkOf(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return addr
}

// signed notes that a signature was made for c's handshake.
func (c *conn) signed() {
	c.network = networkOf(addrOf(c.RemoteAddr()))
	c.use.Store(useSigned)
}

// asked notes that c has had a well-formed request. It is called for each.
func (c *conn) asked() {
	if c.use.Load() != useRequest && c.use.Swap(useRequest) == useSigned {
		c.listener.server.unused.credit(c.network)
	}
}

// settle notes that c ends.
func (c *conn) settle() {
	if c.use.Load() == useSigned {
		s := c.listener.server
		s.metrics.handshakesUnused.Inc()
		s.unused.count(c.network, time.Now())
	}
}

// What has come of a connection.
const (
	useNone    uint32 = iota
	useSigned         // the token has made a signature for it
	useRequest        // it has had a well-formed request
)

// holdBack waits before a signature for c, where its client's have come to nothing.
func (c *conn) holdBack(ctx context.Context) error {
	s := c.listener.server
	client := networkOf(addrOf(c.RemoteAddr()))
	now := time.Now()
	wait := s.unused.wait(client, now)
	if wait == 0 {
		return nil
	}
	s.metrics.handshakesHeld.Inc()
	if s.unused.tells(now) {
		s.log.Warn("full handshakes of a client come to no request: its next ones wait", "client", client)
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.Gone() {
		return errHungUp{}
	}
	return nil
}

// errHungUp is why a signature was not asked for.
type errHungUp struct{}

func (errHungUp) Error() string { return "the client has hung up" }
func (errHungUp) Busy() bool    { return true } // nothing is wrong with the key
