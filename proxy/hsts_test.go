package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHSTS_IsInAllAnswersOfItsSite(t *testing.T) {
	pool, _ := poolOf(t, answering(t, "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nstrict-transport-security: max-age=2\r\nContent-Length: 0\r\n\r\n"))
	for _, c := range []struct {
		hsts *HSTS
		want []string
		made []string // for an answer that is made here
	}{
		{nil, []string{"max-age=1", "max-age=2"}, nil},
		{&HSTS{}, []string{"max-age=0"}, []string{"max-age=0"}},
		{&HSTS{MaxAge: time.Hour}, []string{"max-age=3600"}, []string{"max-age=3600"}},
		{&HSTS{preloadAge, true, true}, []string{"max-age=31536000; includeSubDomains; preload"}, []string{"max-age=31536000; includeSubDomains; preload"}},
	} {
		f := serve(t, pool, func(cfg *Config) {
			cfg.Sites[0].HSTS = c.hsts
			cfg.Sites[0].Routes[0].Path = "/app"
		})
		bothProtocols(t, func(t *testing.T, protocol string) {
			if diff := cmp.Diff(c.want, f.fetch(protocol, "/app").Header.Values("Strict-Transport-Security")); diff != "" {
				t.Errorf("%+v: %s", c.hsts, diff)
			}
			if diff := cmp.Diff(c.made, f.fetch(protocol, "/other").Header.Values("Strict-Transport-Security")); diff != "" {
				t.Errorf("%+v: an answer made here: %s", c.hsts, diff)
			}
		})
	}
}

func TestHSTS_PreloadIsForAllNamesAndAYear(t *testing.T) {
	for _, h := range []*HSTS{{MaxAge: preloadAge, Preload: true}, {MaxAge: preloadAge - 1, IncludeSubdomains: true, Preload: true}, {MaxAge: -1}} {
		pool, _ := poolOf(t, refused(t))
		s := siteOf(t, "www", pool, www)
		s.HSTS = h
		if _, err := New(Config{Sites: []Site{s}}); err == nil || !strings.Contains(err.Error(), "HSTS") {
			t.Errorf("%+v: %v", h, err)
		}
	}
}
