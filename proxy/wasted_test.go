package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestWasted_SomeAreFree(t *testing.T) {
	var a wasted
	client, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now := time.Now()
	for range wastedFree {
		a.count(client, now)
	}
	if wait := a.wait(client, now); wait != 0 {
		t.Errorf("waits %s", wait)
	}
	// A client that fails now and then goes on for ever.
	for range 1000 {
		now = now.Add(time.Second / wastedRate)
		a.count(client, now)
		if wait := a.wait(client, now); wait != 0 {
			t.Fatalf("waits %s", wait)
		}
	}
	if wait := a.wait(other, now); wait != 0 {
		t.Errorf("another waits %s", wait)
	}
}

func TestWasted_MoreAreSpread(t *testing.T) {
	var a wasted
	client := netip.MustParseAddr("192.0.2.1")
	now := time.Now()
	for range wastedFree + 50 {
		a.count(client, now)
	}
	var waits []time.Duration
	for range 8 {
		waits = append(waits, a.wait(client, now))
	}
	want := "[200ms 400ms 600ms 800ms 1s 1s 1s 1s]"
	if got := fmt.Sprint(waits); got != want {
		t.Errorf("eight at once wait %s, want %s", got, want)
	}
	// A client that dials again at once when it has failed.
	made := 0
	for end := now.Add(time.Minute); now.Before(end); made++ {
		now = now.Add(a.wait(client, now) + time.Millisecond)
		a.count(client, now)
	}
	if most := 60*wastedRate + 60; made > most {
		t.Errorf("%d signatures in a minute, want %d at most", made, most)
	}
	// Some time later it is like any other.
	if wait := a.wait(client, now.Add(2*wastedFree/wastedRate*time.Second)); wait != 0 {
		t.Errorf("waits %s", wait)
	}
}

func TestWasted_RequestsMakeGood(t *testing.T) {
	var a wasted
	client := netip.MustParseAddr("192.0.2.1")
	now := time.Now()
	for n := range 10_000 { // behind one address many browsers open connections ahead of need
		a.count(client, now)
		if n%wastedRequest == 0 {
			a.credit(client)
		}
		if wait := a.wait(client, now); wait != 0 {
			t.Fatalf("the %dth waits %s", n, wait)
		}
	}
}

func TestWasted_IsBounded(t *testing.T) {
	var a wasted
	client := netip.MustParseAddr("10.0.0.0")
	now := time.Now()
	for range 2 * wastedClients {
		a.count(client, now)
		client = client.Next()
	}
	if n := len(a.clients); n != wastedClients {
		t.Errorf("%d clients are known, want %d", n, wastedClients)
	}
	a.sweep(now.Add(time.Minute))
	if n := len(a.clients); n != 0 {
		t.Errorf("%d clients are known that have been quiet", n)
	}
}

func TestNetworkOf_AnIPv6NetworkIsOneClient(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::"} {
		if got := networkOf(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// counts waits until a counter has come to n.
func counts(t *testing.T, what string, c prometheus.Counter, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); int(testutil.ToFloat64(c)) != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v, want %d", what, testutil.ToFloat64(c), n)
		}
	}
}

// A connection whose client failed is counted; one with a request, or with nothing, is not.
func TestServer_CountsHandshakesThatCameToNothing(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	wastedSoFar := 0
	for _, test := range []struct {
		name, sent string
		status     int
		wasted     int
	}{
		{"nothing is asked", "", 0, 0},
		{"a malformed request", "GET / HTTP/1.1\r\nHost: " + www + "\r\nHost: other\r\n\r\n", http.StatusBadRequest, 1},
		{"a request", "GET / HTTP/1.1\r\nHost: " + www + "\r\nConnection: close\r\n\r\n", http.StatusOK, 0},
	} {
		conn, err := tls.Dial("tcp", f.addr, f.tls(www))
		if err != nil {
			t.Fatal(err)
		}
		if test.sent != "" {
			if _, err := io.WriteString(conn, test.sent); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(answer), fmt.Sprintf("HTTP/1.1 %d ", test.status)) {
				t.Fatalf("%s: %q, %v", test.name, answer, err)
			}
		}
		conn.Close()
		wastedSoFar += test.wasted
		counts(t, test.name, f.server.metrics.handshakesWasted, wastedSoFar)
	}
	// The client breaks off, as it distrusts the certificate.
	conf := f.tls(www)
	conf.VerifyConnection = func(tls.ConnectionState) error { return errors.New("not this one") }
	if _, err := tls.Dial("tcp", f.addr, conf); err == nil {
		t.Fatal("it trusts the certificate")
	}
	counts(t, "a certificate that is distrusted", f.server.metrics.handshakesWasted, wastedSoFar+1)
}

// Where a client's handshakes come to nothing, its next one waits, and is served. Resumed ones
// cost no signature.
func TestServer_HoldsSignaturesBackThatComeToNothing(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool)
	cache := f.tls(www)
	cache.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	get := func(conf *tls.Config) (resumed bool) {
		t.Helper()
		conn, err := tls.Dial("tcp", f.addr, conf)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+www+"\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Fatalf("%q, %v", answer, err)
		}
		return conn.ConnectionState().DidResume
	}
	get(cache)
	counts(t, "held back before anything came to nothing", f.server.metrics.handshakesHeld, 0)
	for range 2 * wastedFree {
		f.server.wasted.count(netip.MustParseAddr("127.0.0.1"), time.Now())
	}
	if !get(cache) {
		t.Error("it was not resumed")
	}
	counts(t, "held back that needed no signature", f.server.metrics.handshakesHeld, 0)
	get(f.tls(www))
	counts(t, "held back", f.server.metrics.handshakesHeld, 1)
}
