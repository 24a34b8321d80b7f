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
// counted, by client network, how many full handshakes ended in such a failure. A
// network has some of them for nothing. Of one that has more, each further signature is asked
// for a moment later. None is refused. A connection on which nothing was asked is no failure:
// browsers open some ahead of need, and balancers look whether the port answers. What those
// cost others is bounded by the token's queue, where clients take turns.
const (
	wastedFree    = 100                      // for nothing,
	wastedRate    = 5                        // and so many more a second
	wastedWait    = time.Second / wastedRate // between two signatures beyond that,
	wastedMost    = time.Second              // and at most so long for each
	wastedRequest = 4                        // how many a connection with a request makes good
	wastedClients = 4096                     // networks that are known; a bound for memory
)

// wasted is the account of full handshakes whose clients failed.
type wasted struct {
	mu      sync.Mutex
	clients map[netip.Addr]*wastedOf
	told    time.Time
}

// wastedTold is the least time between two lines in the log on this.
const wastedTold = time.Minute

// tells reports whether it is time for one.
func (a *wasted) tells(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.told.IsZero() && now.Sub(a.told) < wastedTold {
		return false
	}
	a.told = now
	return true
}

// wastedOf is a network's part of it.
type wastedOf struct {
	level float64 // as of at
	at    time.Time
	next  time.Time // when its next signature may be asked for
}

// leak lowers the level by what is free since it was last looked at.
func (u *wastedOf) leak(now time.Time) float64 {
	u.level = max(0, u.level-wastedRate*now.Sub(u.at).Seconds())
	u.at = now
	return u.level
}

// count notes that a connection ended for which a signature was made, and whose client failed.
func (a *wasted) count(client netip.Addr, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.clients[client]
	if u == nil {
		if a.clients == nil {
			a.clients = make(map[netip.Addr]*wastedOf)
		}
		if len(a.clients) >= wastedClients {
			a.forget(now)
		}
		u = &wastedOf{at: now}
		a.clients[client] = u
	}
	u.level = min(u.leak(now)+1, 2*wastedFree)
}

// forget makes room: of a few networks, whichever they are, the one with the least goes.
func (a *wasted) forget(now time.Time) {
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
func (a *wasted) credit(client netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.clients[client]; u != nil {
		if u.level -= wastedRequest; u.level <= 0 {
			delete(a.clients, client)
		}
	}
}

// wait is how long a client's next signature is to wait before it is asked for.
func (a *wasted) wait(client netip.Addr, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.clients[client]
	if u == nil || u.leak(now) <= wastedFree {
		return 0
	}
	next := now
	if u.next.After(now) {
		next = u.next
	}
	next = next.Add(wastedWait)
	if latest := now.Add(wastedMost); next.After(latest) {
		next = latest
	}
	u.next = next
	return next.Sub(now)
}

// sweep forgets networks that have none of late.
func (a *wasted) sweep(now time.Time) {
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
	if c.use.Load() == useRequest {
		return
	}
	if was := c.use.Swap(useRequest); was == useSigned || was == useFailed {
		c.listener.server.wasted.credit(c.network)
	}
}

// failed notes that c's client has broken the handshake off, or has sent what is no request.
func (c *conn) failed() { c.use.CompareAndSwap(useSigned, useFailed) }

// settle notes that c ends.
func (c *conn) settle() {
	if c.use.Load() == useFailed {
		s := c.listener.server
		s.metrics.handshakesWasted.Inc()
		s.wasted.count(c.network, time.Now())
	}
}

// What has come of a connection.
const (
	useNone    uint32 = iota
	useSigned         // the token has made a signature for it
	useFailed         // and its client has failed since
	useRequest        // it has had a well-formed request
)

// holdBack waits before a signature for c, where its client has failed too often.
func (c *conn) holdBack(ctx context.Context) error {
	s := c.listener.server
	client := networkOf(addrOf(c.RemoteAddr()))
	now := time.Now()
	wait := s.wasted.wait(client, now)
	if wait == 0 {
		return nil
	}
	s.metrics.handshakesHeld.Inc()
	if s.wasted.tells(now) {
		s.log.Warn("a client fails after full handshakes, again and again: its next ones wait", "client", client)
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
