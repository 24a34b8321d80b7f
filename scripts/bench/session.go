package main

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
)

// keptSession is a session cache that goes on handing out the first session
// that it got, so that every handshake resumes the same: the server's tickets
// are good more than once.
type keptSession struct {
	mu    sync.Mutex
	state *tls.ClientSessionState
}

func (k *keptSession) Get(string) (*tls.ClientSessionState, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state, k.state != nil
}

func (k *keptSession) Put(_ string, state *tls.ClientSessionState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == nil {
		k.state = state
	}
}

// newSession shakes hands in full and keeps the session.
func newSession(ctx context.Context, i *instance, config *tls.Config) (*keptSession, error) {
	k := &keptSession{}
	config.ClientSessionCache = k
	if err := connectOnce(ctx, i.address, config, false); err != nil {
		return nil, err
	}
	if _, ok := k.Get(""); !ok {
		return nil, errors.New("no session ticket came")
	}
	return k, nil
}
