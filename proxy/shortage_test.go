package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// lacking are links whose dials fail, with an error for each address.
type lacking struct {
	links
	errs map[string]error
}

func (l lacking) dial(x *exchange, address string, other func() bool) (link, error) {
	if err := l.errs[address]; err != nil {
		return nil, err
	}
	return l.links.dial(x, address, other)
}

func dialFails(cause error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", cause)}
}

// A shortage of our own is not the backend's failure.
func TestShortage_IsNotTheBackends(t *testing.T) {
	good := backend(t, echo)
	lookup := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: dialFails(syscall.EMFILE).Error(), Name: "web.internal"}}
	for _, tc := range []struct {
		name   string
		err    error
		second string // the pool's other backend; empty: none
		status int
	}{
		{"descriptors", dialFails(syscall.EMFILE), "", 503},
		{"descriptors of the machine", dialFails(syscall.ENFILE), "", 503},
		{"memory of the kernel", dialFails(syscall.ENOBUFS), "", 503},
		{"descriptors, to look up a name", lookup, "", 503},
		{"ports, but there are for another address", dialFails(syscall.EADDRNOTAVAIL), good, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addresses := []string{"192.0.2.1:1"}
			if tc.second != "" {
				addresses = append(addresses, tc.second)
			}
			pool, b := poolOf(t, addresses...)
			f := serveMade(t, pool, func(s *Server) {
				f := s.forwarders[0]
				f.links = lacking{f.links, map[string]error{addresses[0]: tc.err}}
			})
			for range 3 {
				res, err := f.client("h1").Get(base + "/")
				if err != nil {
					t.Fatal(err)
				}
				if text(t, res); res.StatusCode != tc.status {
					t.Errorf("%s", res.Status)
				}
				if r := b.next(); r.address != addresses[0] || !errors.Is(r.err, context.Canceled) {
					t.Errorf("the balancer was told %+v", r)
				}
				if tc.second != "" {
					b.next()
				}
				if line := f.access.next(t); tc.status == 503 && line["outcome"].String() != errShortage.outcome {
					t.Errorf("logged %v", line)
				}
			}
			if line := f.log.until(t, "connections to backends cannot be made"); line["pool"].String() != pool.Name || line["times"].Int64() != 1 {
				t.Errorf("logged %v", line)
			}
			f.stop()
			f.wait()
			for {
				line := f.log.next(t)
				if msg := line["msg"].String(); msg == "drained" {
					break
				} else if strings.Contains(msg, "cannot be made") {
					t.Errorf("logged again: %v", line)
				}
			}
			if n := testutil.ToFloat64(f.server.metrics.shortages.WithLabelValues(inBackend)); n != 3 {
				t.Errorf("%v were counted", n)
			}
		})
	}
}
