package main

import (
	"fmt"
	"net"
	"testing"
)

// An address is of one family, also where it stands for all of that family.
func TestListen_IsOfOneFamily(t *testing.T) {
	reaches := func(host string, l net.Listener) bool {
		c, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(l.Addr().(*net.TCPAddr).Port)))
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	hasSix := false // or only what needs none of it is shown
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		hasSix = true
		l.Close()
	}
	for _, tc := range []struct {
		address   string
		four, six bool
		beside    string // can be opened at the same port
	}{
		{address: "0.0.0.0:0", four: true, beside: "[::]"},
		{address: "[::]:0", six: true, beside: "0.0.0.0"},
		{address: "[::ffff:127.0.0.1]:0", four: true, beside: "[::]"},
		{address: "127.0.0.1:0", four: true, beside: "[::1]"},
		{address: "[::1]:0", six: true, beside: "127.0.0.1"},
		{address: ":0", four: true, six: true},
	} {
		if !hasSix {
			if tc.six {
				continue
			}
			tc.beside = ""
		}
		var err error
		for range 10 { // another process may have the port of the other family
			var l net.Listener
			if l, err = listen(tc.address); err != nil {
				break
			}
			t.Cleanup(func() { l.Close() })
			if four, six := reaches("127.0.0.1", l), reaches("::1", l); four != tc.four || six != tc.six {
				t.Errorf("%s: reached by IPv4 %t, by IPv6 %t", tc.address, four, six)
			}
			if tc.beside == "" {
				break
			}
			var other net.Listener
			if other, err = listen(fmt.Sprintf("%s:%d", tc.beside, l.Addr().(*net.TCPAddr).Port)); err == nil {
				other.Close()
				break
			}
		}
		if err != nil {
			t.Errorf("%s, and %s: %v", tc.address, tc.beside, err)
		}
	}
}
