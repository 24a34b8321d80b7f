package proxy

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"sync"
	"time"
)

const (
	ticketRotation = 12 * time.Hour
	ticketsKept    = 2 // previous keys that still open tickets
)

// ticketKeys are the session ticket keys of one tls.Config, newest first:
// random, in memory, gone with the process.
//
// They are set explicitly and each Config has its own. A Config from
// GetConfigForClient that has none of its own would silently use those of the
// listener's, and a session of one site could be resumed at another
// (CVE-2025-23419).
type ticketKeys struct {
	config *tls.Config

	mu   sync.Mutex
	keys [][32]byte
}

func newTicketKeys(c *tls.Config) *ticketKeys {
	k := &ticketKeys{config: c}
	k.rotate()
	return k
}

// rotate puts a fresh key first and forgets the oldest.
func (k *ticketKeys) rotate() {
	var fresh [32]byte
	rand.Read(fresh[:]) // never fails (crypto/rand)
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := append([][32]byte{fresh}, k.keys...)
	k.keys = keys[:min(len(keys), 1+ticketsKept)]
	k.config.SetSessionTicketKeys(k.keys)
}

// rotateTickets rotates the keys of all sites every so often until ctx ends.
func (s *Server) rotateTickets(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, k := range s.sites.tickets {
				s.guarded(inTickets, k.rotate)
			}
		}
	}
}
