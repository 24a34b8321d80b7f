package main

import (
	"strings"
	"testing"
	"time"

	"sallyport/proxy/admin"
)

func TestStatus_PrintsWhatIsWrong(t *testing.T) {
	at := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	s := admin.Status{
		Version: "1.2.3", Started: at.Add(-50 * time.Hour), Taken: at, Next: at.Add(time.Minute), NotUp: "site a\nsite b",
		Tokens: []admin.Token{{
			Name: "edge", State: "degraded", Since: at, Reason: "one\ntwo", Hint: "ask \x1b the vendor", Label: "Edge", Serial: "01", Library: "Vendor 1.0",
			Processes: 2, Up: 1, Sessions: 16, Restarts: 3,
			Signatures: []admin.Signatures{{Kind: "ecdsa", InFlight: 1, Waiting: 2, Pace: 0.0015}, {Kind: "rsa"}},
			Trouble:    &admin.Trouble{Text: "it \x1b[2Jhangs", Time: at},
		}},
		Sites: []admin.Site{{Name: "www", Hosts: []string{"a.test", "b.test"}, Certificates: []admin.Certificate{{
			Key: "pkcs11:object=www", Chain: "/www.pem", Kept: true,
			Served: admin.Pair{
				Key: "pkcs11:token=Edge;object=www", Type: "P-256", Tokens: []string{"edge", "spare"}, Subject: "CN=a.test", Serial: "0a",
				NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.Add(-time.Hour), DaysLeft: -1, Schemes: []string{"one", "two"},
			},
			NotServed: []admin.Reason{{Text: "it expired", Hint: "renew it", Since: at}},
		}}}},
		Pools: []admin.Pool{{Name: "web", Backends: []admin.Backend{{Address: "10.0.0.1:80", State: "down", Failures: 4}}}},
	}
	const want = `sallyport 1.2.3, up since 2030-01-29 10:00:00 UTC (2d 2h)
not ready: site a; site b

token edge: degraded since 2030-01-31 12:00:00 UTC
  reason      one; two
  traffic     it goes on, with fewer signatures at once
  hint        ask � the vendor
  token       label "Edge", serial "01", Vendor 1.0
  processes   1 of 2 up, 16 sessions, 3 restarts
  ECDSA       1 under way, 2 waiting, 1.5 ms each
  RSA         0 under way, 0 waiting, none of late
  objects     never read, next 2030-01-31 12:01:00 UTC
  last error  2030-01-31 12:00:00 UTC: it �[2Jhangs

site www: a.test, b.test
  pkcs11:object=www, chain from /www.pem
    served, for want of a better one: pkcs11:token=Edge;object=www (P-256) on edge, spare
      certificate  CN=a.test, serial 0a
      valid        2029-01-31 12:00:00 UTC to 2030-01-31 11:00:00 UTC, EXPIRED: clients refuse it
      schemes      one two
    not served since 2030-01-31 12:00:00 UTC: it expired
      hint: renew it

pool web
  10.0.0.1:80  down  0 under way  4 failed
  NONE can be reached: requests get 502; the log has the reason of each ("backend state changed")
`
	var got strings.Builder
	if err := printStatus(&got, s); err != nil || got.String() != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, &got, want)
	}
}

func TestDaysUntil_RoundsDown(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]int{
		0: 0, time.Hour: 0, 24 * time.Hour: 1, 47 * time.Hour: 1, -time.Hour: -1, -25 * time.Hour: -2,
	} {
		if got := daysUntil(now.Add(left), now); got != want {
			t.Errorf("%s: %d days, want %d", left, got, want)
		}
	}
}
