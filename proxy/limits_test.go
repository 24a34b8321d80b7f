package proxy

import (
	"fmt"
	"net/http"
	"strings"
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

func TestLimits_UnderscoresInHTTP1(t *testing.T) {
	address, last := seen(t)
	pool, _ := poolOf(t, address)
	for _, allowed := range []bool{false, true} {
		f := serve(t, pool, func(c *Config) { c.Listeners[0].Underscores = allowed })
		conn := f.dial(www)
		conn.send("GET / HTTP/1.1\nHost: " + www + "\nX_Own: 1\nX_Forwarded_For: 1\n\n")
		if got := conn.answer().StatusCode; (got == 200) != allowed || got != 200 && got != 400 {
			t.Errorf("allowed %v: %d", allowed, got)
		}
		if !allowed {
			continue
		}
		h := last().Header
		if h["X_own"] == nil {
			t.Errorf("the field did not get through: %v", h)
		}
		for name := range h {
			if strings.EqualFold(name, "X_Forwarded_For") {
				t.Error("a claim got through")
			}
		}
	}
}
