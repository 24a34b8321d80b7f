package hsm

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Overload must not feed itself: a signature that finds the queue full is not
// asked for again, its certificate is not doubted, and the token is not read anew.
func TestHandshakeKey_AFullQueueIsNoFailureOfTheKey(t *testing.T) {
	token := NewToken(Config{Name: "edge"}, slog.New(slog.DiscardHandler), NewMetrics(prometheus.NewRegistry()))
	token.queue.limit = 0
	pair := &Pair{Key: &Key{holders: []holder{{token: token}}}, doubted: new(atomic.Int64)}
	doubted := 0
	key := &handshakeKey{pair: pair, site: siteOfPairs(func() { doubted++ }, pair), ctx: t.Context()}
	digest := sha256.Sum256([]byte("message"))
	if _, err := key.Sign(nil, digest[:], crypto.SHA256); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if doubted != 0 || pair.inDoubt(time.Now()) {
		t.Error("the certificate is doubted")
	}
	token.queue.close(ErrDown) // a real failure is
	if _, err := key.Sign(nil, digest[:], crypto.SHA256); !errors.Is(err, ErrDown) {
		t.Errorf("got %v, want ErrDown", err)
	}
	if doubted != 1 || !pair.inDoubt(time.Now()) {
		t.Error("the certificate is not doubted")
	}
}

// siteOfPairs serves pairs as they are.
func siteOfPairs(doubt func(), pairs ...*Pair) *Certificates {
	c := &Certificates{doubt: doubt}
	c.serving.Store(&[]served{{pairs: pairs}})
	return c
}

// A handshake whose signature takes too long fails while there is still time for
// the alert.
func TestHandshakeKey_GivesUpBeforeTheHandshakeEnds(t *testing.T) {
	token := NewToken(Config{Name: "edge"}, slog.New(slog.DiscardHandler), NewMetrics(prometheus.NewRegistry()))
	pair := &Pair{Key: &Key{holders: []holder{{token: token}}}, doubted: new(atomic.Int64)} // it is starting, for ever
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	key := &handshakeKey{pair: pair, site: siteOfPairs(func() {}, pair), ctx: ctx}
	digest := sha256.Sum256([]byte("message"))
	if _, err := key.Sign(nil, digest[:], crypto.SHA256); !errors.Is(err, ErrDown) {
		t.Errorf("got %v, want ErrDown", err)
	}
	if ctx.Err() != nil {
		t.Error("the handshake's time is up")
	}
	// The client may have spent the time.
	if pair.inDoubt(time.Now()) {
		t.Error("the certificate is doubted")
	}
}
