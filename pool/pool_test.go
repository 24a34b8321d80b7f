package pool

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// clock is a hand-moved clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type bench struct {
	*Pool
	clock *clock
	log   *bytes.Buffer
}

func newPool(t testing.TB, addresses ...string) *bench {
	t.Helper()
	c := &clock{now: time.Unix(1000, 0)}
	var log bytes.Buffer
	p, err := New("web", addresses, Options{
		Log:    slog.New(slog.NewTextHandler(&log, nil)),
		now:    c.Now,
		jitter: func(d time.Duration) time.Duration { return d },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{p, c, &log}
}

// try picks once and ends the try with err.
func (b *bench) try(t testing.TB, err error, tried ...string) string {
	t.Helper()
	address, ticket, ok := b.Pick(tried, true)
	if !ok {
		return ""
	}
	b.Release(ticket, err)
	return address
}

func (b *bench) state(address string) string {
	for _, s := range b.Status().Backends {
		if s.Address == address {
			return s.State
		}
	}
	return ""
}

// fell makes address fail n times, each time when its pause is over.
func (b *bench) fell(t testing.TB, address string, others ...string) {
	t.Helper()
	if got := b.try(t, errRefused, others...); got != address {
		t.Fatalf("picked %q, want %q", got, address)
	}
}

func TestPool_BackendsTakeTurns(t *testing.T) {
	p := newPool(t, "a:1", "b:1", "c:1")
	var got []string
	for range 6 {
		got = append(got, p.try(t, nil))
	}
	if diff := cmp.Diff([]string{"a:1", "b:1", "c:1", "a:1", "b:1", "c:1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPool_NeverOffersWhatWasTried(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	if got := p.try(t, nil, "a:1"); got != "b:1" {
		t.Errorf("got %q", got)
	}
	if _, _, ok := p.Pick([]string{"a:1", "b:1"}, true); ok {
		t.Error("a backend was offered though all were tried")
	}
}

func TestPool_UnreachableBackendIsPassedOver(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	p.fell(t, "a:1")
	for range 4 {
		if got := p.try(t, nil); got != "b:1" {
			t.Fatalf("picked %q while it was down", got)
		}
	}
	if p.state("a:1") != "down" {
		t.Error("a is not down")
	}
}

func TestPool_AllDownAreTriedAllTheSame(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	p.fell(t, "a:1")
	p.fell(t, "b:1")
	for range 2 {
		if p.try(t, errRefused) == "" {
			t.Error("a request was refused by memory alone")
		}
	}
}

func TestPool_ClientThatLeftBringsNoBackendBack(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	p.fell(t, "a:1")
	p.clock.Advance(firstPause)
	if got := p.try(t, context.Canceled, "b:1"); got != "a:1" || p.state("a:1") != "down" {
		t.Errorf("picked %q, state %s", got, p.state("a:1"))
	}
}

func TestPool_PauseGrowsToItsBound(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	var got []time.Duration
	for range 6 {
		p.fell(t, "a:1", "b:1")
		pause := p.Status().Backends[0].Until.Sub(p.clock.Now())
		got = append(got, pause)
		p.clock.Advance(pause)
	}
	want := []time.Duration{1, 2, 4, 8, 10, 10}
	for i := range want {
		want[i] *= time.Second
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPool_TriesWithinThePauseDoNotLengthenIt(t *testing.T) {
	p := newPool(t, "a:1")
	p.fell(t, "a:1")
	before := p.Status().Backends[0].Until
	for range 5 {
		p.fell(t, "a:1")
	}
	if after := p.Status().Backends[0].Until; !after.Equal(before) {
		t.Errorf("pause moved from %v to %v", before, after)
	}
}

func TestPool_OldAnswerDoesNotBringABackendBack(t *testing.T) {
	p := newPool(t, "a:1")
	_, long, _ := p.Pick(nil, true)
	p.fell(t, "a:1")
	p.Release(long, nil)
	if p.state("a:1") != "down" {
		t.Error("an answer that began before the failure brought the backend back")
	}
}

func TestPool_ConnectionMadeBringsABackendBack(t *testing.T) {
	p := newPool(t, "a:1")
	p.fell(t, "a:1")
	_, ticket, _ := p.Pick(nil, true)
	p.Reached("a:1")
	if p.state("a:1") != "up" {
		t.Error("still down though it was reached")
	}
	p.Release(ticket, nil)
	p.Reached("stranger:1") // of no effect
}

func TestPool_BrokenAnswerIsCountedButStaysUp(t *testing.T) {
	p := newPool(t, "a:1")
	p.try(t, errors.New("unexpected EOF"))
	s := p.Status().Backends[0]
	if s.State != "up" || s.Failures != 1 {
		t.Errorf("%+v", s)
	}
}

func TestPool_CountsWhatIsInFlight(t *testing.T) {
	p := newPool(t, "a:1")
	_, ticket, _ := p.Pick(nil, true)
	if n := p.Status().Backends[0].InFlight; n != 1 {
		t.Fatalf("in flight %d", n)
	}
	p.Release(ticket, nil)
	if s := p.Status().Backends[0]; s.InFlight != 0 || s.State != "up" || s.Failures != 0 {
		t.Errorf("%+v", s)
	}
}

func TestTicket_HoldsWhatItIsMadeOf(t *testing.T) {
	for _, at := range []int{0, 1, MaxBackends - 1} {
		for _, epoch := range []uint64{0, 1, 1 << 40} {
			for _, probe := range []bool{false, true} {
				if k := newTicket(at, probe, epoch); k.place() != at || k.probe() != probe || k.epoch() != epoch {
					t.Errorf("%d, %v, %d became %d, %v, %d", at, probe, epoch, k.place(), k.probe(), k.epoch())
				}
			}
		}
	}
}

// A pick and its release are on every request's way.
func TestPool_PickAllocatesNothing(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	if n := testing.AllocsPerRun(100, func() {
		_, ticket, _ := p.Pick(nil, true)
		p.Release(ticket, nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPool_TransitionsAreLoggedOnce(t *testing.T) {
	p := newPool(t, "a:1")
	for range 5 {
		p.fell(t, "a:1")
		p.clock.Advance(maxPause)
	}
	p.try(t, nil)
	p.try(t, nil)
	if n := strings.Count(p.log.String(), "backend state changed"); n != 2 {
		t.Errorf("%d lines:\n%s", n, p.log)
	}
}

// What one backend's end means for traffic depends on the others.
func TestPool_SaysWhenNoBackendIsLeft(t *testing.T) {
	p := newPool(t, "a:1", "b:1")
	said := func() int { return strings.Count(p.log.String(), "pool has no backend that can be reached") }
	p.fell(t, "a:1")
	if n := said(); n != 0 {
		t.Errorf("one of two is down, and it is said %d times", n)
	}
	p.fell(t, "b:1")
	if n := said(); n != 1 {
		t.Errorf("both are down, and it is said %d times:\n%s", n, p.log)
	}
}

func TestPool_SeveralShareOneRegisterer(t *testing.T) {
	r := prometheus.NewRegistry()
	for _, name := range []string{"web", "api"} {
		p, err := New(name, []string{"a:1"}, Options{Metrics: r})
		if err != nil {
			t.Fatal(err)
		}
		_, ticket, _ := p.Pick(nil, true)
		p.Release(ticket, errRefused)
	}
	want := `
# HELP sallyport_backend_up 1 while the backend takes its turn, 0 while it is passed over.
# TYPE sallyport_backend_up gauge
sallyport_backend_up{backend="a:1",pool="api"} 0
sallyport_backend_up{backend="a:1",pool="web"} 0
# HELP sallyport_backend_failures_total Tries that the backend failed: not reached, too slow, or a broken answer.
# TYPE sallyport_backend_failures_total counter
sallyport_backend_failures_total{backend="a:1",pool="api"} 1
sallyport_backend_failures_total{backend="a:1",pool="web"} 1
# HELP sallyport_backend_requests_in_flight Requests sent to the backend whose answer has not ended.
# TYPE sallyport_backend_requests_in_flight gauge
sallyport_backend_requests_in_flight{backend="a:1",pool="api"} 0
sallyport_backend_requests_in_flight{backend="a:1",pool="web"} 0
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestPool_BadConfigurationIsRefused(t *testing.T) {
	for name, addresses := range map[string][]string{
		"no backends": nil, "no port": {"a"}, "twice": {"a:1", "a:1"}, "no host": {":80"},
	} {
		if _, err := New("web", addresses, Options{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPool_ConcurrentUseKeepsCount(t *testing.T) {
	p := newPool(t, "a:1", "b:1", "c:1")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				_, ticket, ok := p.Pick(nil, true)
				if !ok {
					t.Error("nothing to pick")
					return
				}
				var err error
				if i%2 == 0 {
					err = errRefused
				}
				p.Release(ticket, err)
				p.clock.Advance(time.Millisecond)
			}
		})
	}
	wg.Wait()
	for _, b := range p.Status().Backends {
		if b.InFlight != 0 {
			t.Errorf("%s: %d in flight", b.Address, b.InFlight)
		}
	}
}

func TestSpread_StaysNear(t *testing.T) {
	for range 1000 {
		if d := spread(10 * time.Second); d < 8*time.Second || d > 12*time.Second {
			t.Fatal(d)
		}
	}
}
