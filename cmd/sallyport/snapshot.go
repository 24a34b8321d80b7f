package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sallyport/hsm"
	"sallyport/pool"
	"sallyport/proxy/admin"
)

// adminServers are those of the admin listener and of the admin socket, as far
// as they are on. The socket alone can change something.
func (s *service) adminServers(ready func() error) ([]*admin.Server, error) {
	c := admin.Config{
		Gatherer: s.registry, Log: s.log, Ready: ready,
		Status: func() admin.Status { return s.snapshot(ready) },
	}
	var servers []*admin.Server
	add := func(name string, c admin.Config) error {
		server, err := admin.New(c)
		if err == nil {
			servers = append(servers, server)
			s.log.Info("listening", "for", name, "address", c.Listener.Addr().String())
		}
		return err
	}
	if s.admin != nil {
		c.Listener = s.admin
		if err := add("admin", c); err != nil {
			return nil, err
		}
	}
	if s.socket != nil {
		c.Listener, c.Control = s.socket, &admin.Control{Rescan: s.rescan, Unlock: s.unlock}
		if err := add("admin socket", c); err != nil {
			return nil, err
		}
	}
	return servers, nil
}

// snapshot is what the service is at, for the admin side.
func (s *service) snapshot(ready func() error) admin.Status {
	now := time.Now()
	all := admin.Status{Version: versionName(), Started: s.started, Taken: now, Next: s.keyring.Next()}
	if err := ready(); err != nil {
		all.NotUp = err.Error()
	}
	for _, t := range s.tokens {
		all.Tokens = append(all.Tokens, tokenSnapshot(t.Status()))
	}
	for i, site := range s.config.Sites {
		one := admin.Site{Name: site.Name, Hosts: site.Hosts}
		for _, e := range s.sites[i].Entries() {
			one.Certificates = append(one.Certificates, certificateSnapshot(e, now))
		}
		all.Sites = append(all.Sites, one)
	}
	for _, p := range s.config.Pools {
		all.Pools = append(all.Pools, poolSnapshot(s.balancers[p.Name].Status()))
	}
	return all
}

func tokenSnapshot(t hsm.TokenStatus) admin.Token {
	one := admin.Token{
		Name: t.Name, State: t.State.String(), Since: t.Since,
		Label: t.Info.Label, Serial: t.Info.Serial, Library: t.Info.Library, Read: t.Read,
		Processes: t.Processes, Up: t.Up, Sessions: t.Sessions, Restarts: t.Restarts,
	}
	if t.Reason != nil {
		one.Reason, one.Hint = t.Reason.Error(), hintOf(t.Reason)
	}
	if t.Trouble.Err != nil {
		one.Trouble = &admin.Trouble{Text: t.Trouble.Err.Error(), Time: t.Trouble.Time}
	}
	for _, l := range t.Lanes {
		one.Signatures = append(one.Signatures, admin.Signatures{
			Kind: l.Kind, InFlight: l.InFlight, Waiting: l.Waiting, Pace: l.Pace.Seconds(),
		})
	}
	return one
}

func certificateSnapshot(e hsm.EntryStatus, now time.Time) admin.Certificate {
	one := admin.Certificate{
		Key: e.Entry.Key.String(), Chain: e.Entry.Chain, Kept: e.Kept,
		Served: pairSnapshot(e.Pairs[0], now), Fallbacks: []admin.Pair{}, NotServed: []admin.Reason{},
	}
	for _, p := range e.Pairs[1:] {
		one.Fallbacks = append(one.Fallbacks, pairSnapshot(p, now))
	}
	for _, p := range e.Problems {
		one.NotServed = append(one.NotServed, admin.Reason{Text: p.Error(), Hint: hintOf(p), Since: p.Since})
	}
	return one
}

func pairSnapshot(p *hsm.Pair, now time.Time) admin.Pair {
	leaf := p.Leaf()
	one := admin.Pair{
		Key: p.Key.URI(), Type: p.Key.Type(), Tokens: p.Key.Tokens(),
		Subject: leaf.Subject.String(), Serial: fmt.Sprintf("%x", leaf.SerialNumber),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, DaysLeft: daysUntil(leaf.NotAfter, now),
	}
	for _, s := range p.Schemes() {
		one.Schemes = append(one.Schemes, s.String())
	}
	one.Chain = []string{}
	for _, c := range p.Chain[1:] {
		one.Chain = append(one.Chain, c.Subject.String())
	}
	if gap := p.Gap(); gap != nil {
		one.Warning = gap.Error()
	}
	if ends := p.Chain.Ends(); ends != leaf && ends.NotAfter.Sub(now) < hsm.ExpiresSoon {
		text := fmt.Sprintf("the intermediate %s ends on %s, and clients refuse the chain from then on", ends.Subject, when(ends.NotAfter))
		one.Warning = strings.TrimPrefix(one.Warning+"; "+text, "; ")
	}
	return one
}

func poolSnapshot(p pool.Status) admin.Pool {
	one := admin.Pool{Name: p.Pool}
	for _, b := range p.Backends {
		one.Backends = append(one.Backends, admin.Backend{
			Address: b.Address, State: b.State, Until: b.Until, InFlight: b.InFlight, Failures: b.Failures,
		})
	}
	return one
}

// rescan has the tokens read anew, for the admin side.
func (s *service) rescan(ctx context.Context) (admin.Rescan, error) {
	s.log.Info("reading the tokens anew", "cause", "admin socket")
	round, err := s.keyring.RescanNow(ctx)
	answer := admin.Rescan{Changes: []string{}, NotServed: []string{}, Unread: []string{}}
	for _, c := range round.Changes {
		if c.What != hsm.NotServed { // told below, with those of before
			answer.Changes = append(answer.Changes, c.String())
		}
	}
	for i, site := range s.config.Sites {
		for _, e := range s.sites[i].Entries() {
			for _, p := range e.Problems {
				answer.NotServed = append(answer.NotServed, fmt.Sprintf("site %s: %v", site.Name, p))
			}
		}
	}
	for name, why := range round.Unread {
		answer.Unread = append(answer.Unread, fmt.Sprintf("%s: %v", name, why))
	}
	slices.Sort(answer.Unread)
	return answer, err
}

// unlock lets a token be logged in to once more, for the admin side.
func (s *service) unlock(ctx context.Context, name string) error {
	i := slices.IndexFunc(s.tokens, func(t *hsm.Token) bool { return t.Name() == name })
	if i < 0 {
		return hint(fmt.Errorf("%w: %q", admin.ErrNoToken, name), "`sallyport status` shows the tokens")
	}
	t := s.tokens[i]
	if !t.Unlock() {
		state, _ := t.State()
		return hint(fmt.Errorf("token %q is not locked: it is %s", name, state), "only a token that refused its PIN needs to be unlocked")
	}
	if err := t.Settled(ctx); err != nil {
		return hint(err, hintOf(err))
	}
	return nil
}

// daysUntil rounds down: a certificate that ended an hour ago has -1 days left.
func daysUntil(t, now time.Time) int { return int(math.Floor(t.Sub(now).Hours() / 24)) }
