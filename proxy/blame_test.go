package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestBlame_LogSaysWhyAResponseWasRefused(t *testing.T) {
	pool, b := poolOf(t, closesAfter(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi"))
	f := serve(t, pool)
	for range 3 {
		if got := outcome(f.client("h1"), "/"); got != "502" {
			t.Fatalf("got %s", got)
		}
	}
	line := f.log.until(t, "backend failed a request")
	if line["reason"].String() != "more than one Content-Length" || line["backend"].String() != b.addresses[0] || line["pool"].String() != "web" {
		t.Errorf("logged %v", line)
	}
	for len(f.log.lines) > 0 {
		if line := f.log.next(t); line["msg"].String() == "backend failed a request" {
			t.Errorf("logged once more: %v", line)
		}
	}
	want := `
# HELP sallyport_backend_failures_by_reason_total Tries that backends of a pool failed, by why: what the parser refused, a reset, a timeout.
# TYPE sallyport_backend_failures_by_reason_total counter
sallyport_backend_failures_by_reason_total{pool="web",reason="more than one Content-Length"} 3
`
	if err := testutil.GatherAndCompare(f.metrics, strings.NewReader(want), "sallyport_backend_failures_by_reason_total"); err != nil {
		t.Error(err)
	}
}

func TestBlames_CountWhatTheyDoNotWrite(t *testing.T) {
	b := &blames{last: map[blame]*blamed{}}
	at := time.Now()
	what, other := blame{"a:1", "connection reset"}, blame{"b:1", "connection reset"}
	for i, tc := range []struct {
		what    blame
		after   time.Duration
		repeats int
		due     bool
	}{
		{what, 0, 0, true},
		{what, time.Second, 0, false},
		{other, time.Second, 0, true},
		{what, 2 * time.Second, 0, false},
		{what, blameEvery, 2, true},
		{what, blameEvery + time.Second, 0, false},
		{what, 3 * blameEvery, 1, true},
	} {
		if repeats, due := b.due(tc.what, at.Add(tc.after)); repeats != tc.repeats || due != tc.due {
			t.Errorf("%d: due %v, %d repeats", i, due, repeats)
		}
	}
}
