package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// lines are a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What is refused is counted by reason. The log has a line for all of a while, not for each.
func TestToken_TellsOfWhatItRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(lines)
		registry := prometheus.NewRegistry()
		token := NewToken(Config{Name: "edge", Queue: 1}, slog.New(slog.NewTextHandler(log, nil)), NewMetrics(registry))
		key := &Key{holders: []holder{{token: token}}}
		digest := sha256.Sum256([]byte("message"))
		sign := func(address string, patience time.Duration) <-chan error {
			ctx, cancel := context.WithTimeout(forClient(t.Context(), connFrom(address)), patience)
			done := make(chan error, 1)
			go func() {
				defer cancel()
				_, err := key.SignContext(ctx, digest[:], crypto.SHA256)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		waits := sign("192.0.2.1", 2*time.Second) // there is no process yet
		for _, address := range []string{"192.0.2.2", "192.0.2.1", "192.0.2.2"} {
			if err := <-sign(address, time.Second); !errors.Is(err, ErrBusy) {
				t.Fatalf("got %v, want ErrBusy", err)
			}
		}
		if err := <-waits; err == nil {
			t.Fatal("it signed")
		}
		if log.String() != "" {
			t.Errorf("it does not gather: %s", log)
		}
		time.Sleep(refusalsEvery)
		synctest.Wait()
		line := log.String()
		if strings.Count(line, "\n") != 1 || !strings.Contains(line, "signatures refused") ||
			!strings.Contains(line, "token=edge within=5s wait=0 full=3 timeout=1 clients=2 most_of=192.0.2.") {
			t.Errorf("log: %s", line)
		}
		for why, want := range map[whyRefused]int{refusedFull: 3, refusedTimeout: 1, refusedWait: 0} {
			if got := testutil.ToFloat64(token.metrics.refused[laneECDSA][why]); int(got) != want {
				t.Errorf("%v for the reason %s, want %d", got, why, want)
			}
		}
		token.queue.close(fmt.Errorf("%w", ErrDown))
		if err := <-sign("192.0.2.1", time.Second); !errors.Is(err, ErrDown) {
			t.Fatalf("got %v, want ErrDown", err)
		}
		if got := testutil.ToFloat64(token.metrics.refused[laneECDSA][refusedDown]); got < 1 { // each try is
			t.Errorf("%v for the reason down", got)
		}
		time.Sleep(refusalsEvery)
		synctest.Wait()
		if log.String() != line {
			t.Errorf("that the token is down is told elsewhere: %s", log)
		}
	})
}
