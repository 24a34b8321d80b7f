package proxy

import (
	"fmt"
	"net/http"
	"testing"
)

func TestLimits_FieldLines(t *testing.T) {
	pool, _ := poolOf(t, backend(t, echo))
	f := serve(t, pool, func(c *Config) { c.Listeners[0].MaxFields = 20 })
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		for n, want := range map[int]int{10: 200, 30: 431} {
			r, _ := http.NewRequest("GET", base+"/", nil)
			for i := range n {
				r.Header.Set(fmt.Sprintf("X-Field-%d", i), "x")
			}
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text(t, res)
			if res.StatusCode != want {
				t.Errorf("%d fields: %d, want %d", n, res.StatusCode, want)
			}
		}
	})
}

func TestLimits_Underscores(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	for _, allowed := range []bool{false, true} {
		f := serve(t, pool, func(c *Config) { c.Listeners[0].Underscores = allowed })
		bothProtocols(t, func(t *testing.T, protocol string) {
			r, _ := http.NewRequest("GET", base+"/", nil)
			r.Header = http.Header{"X_own": {"1"}, "X_forwarded_for": {"1"}}
			res, err := f.client(protocol).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text(t, res)
			if !allowed {
				if res.StatusCode != 400 {
					t.Errorf("got %d", res.StatusCode)
				}
				return
			}
			if h := last().Header; h["X_own"] == nil || h["X_forwarded_for"] != nil {
				t.Errorf("arrived: %v", h)
			}
		})
	}
}
