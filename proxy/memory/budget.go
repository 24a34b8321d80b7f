package memory

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// Budget is memory for clients, in bytes.
type Budget struct {
	limit    int64
	used     atomic.Int64
	rationed [kinds]atomic.Int64

	mu      sync.Mutex
	clients map[netip.Prefix]*Client
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, clients: make(map[netip.Prefix]*Client)}
}

// Limit is what there is in all.
func (b *Budget) Limit() int64 { return b.limit }

// Used is what clients hold. It may go beyond the limit by what each is given to be
// served at all.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) free() int64 { return b.limit - b.used.Load() }

// Client returns the account of who has an address. Release ends its use.
func (b *Budget) Client(addr netip.Addr) *Client {
	network := networkOf(addr)
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.clients[network]
	if c == nil {
		c = &Client{budget: b, network: network}
		b.clients[network] = c
	}
	c.users++
	return c
}

// networkOf is what counts as one client. Addresses that are none, as those of sockets that
// are not IP's, are one as well.
func networkOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

// Client is what one client holds, for all its connections. Its methods may be called by
// any goroutine.
type Client struct {
	budget  *Budget
	network netip.Prefix
	held    atomic.Int64
	users   int // guarded by budget.mu
}

// Release ends a use of the account. What was taken must have been given back.
func (c *Client) Release() {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.users--; c.users == 0 {
		delete(b.clients, c.network)
	}
}

// Take notes that n bytes more are held, or -n fewer.
func (c *Client) Take(n int) {
	c.held.Add(int64(n))
	c.budget.used.Add(int64(n))
}

// Short reports whether the client holds more than is free.
func (c *Client) Short() bool { return c.held.Load() > c.budget.free() }

// Out reports whether the client is short, and next to nothing is free.
func (c *Client) Out() bool {
	free := c.budget.free()
	return free < c.budget.limit/lastPart && c.held.Load() > free
}

// lastPart of the budget is for those who are not short.
const lastPart = 8

// Rationed counts that something was done to the client because it was short.
func (c *Client) Rationed(what Kind) { c.budget.rationed[what].Add(1) }

// Kind is what is done to a client that is short.
type Kind uint8

// What is done, from the mildest on.
const (
	StreamWaits Kind = iota
	WindowShrinks
	StreamRefused
	BodyBroken
	ConnectionRefused
	ConnectionClosed
	kinds
)

// Kinds are all of them.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for k := range all {
		all[k] = Kind(k)
	}
	return all
}

// String is the kind's name in metrics.
func (k Kind) String() string {
	return [...]string{"stream_waits", "window_shrinks", "stream_refused", "body_broken", "connection_refused", "connection_closed"}[k]
}

// Rationed is how often something was done.
func (b *Budget) Rationed(what Kind) int64 { return b.rationed[what].Load() }
