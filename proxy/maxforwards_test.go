package proxy

import (
	"net/http"
	"strings"
	"testing"
)

func TestMaxForwards_BoundsHowOftenOptionsIsPassedOn(t *testing.T) {
	pool, b := poolOf(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Saw", strings.Join(r.Header.Values("Max-Forwards"), ","))
	}))
	f := serve(t, pool, func(c *Config) {
		c.Sites[0].Routes = append(c.Sites[0].Routes, Route{Path: "/few", Pool: pool, Methods: []string{"GET", "OPTIONS"}})
	})
	bothProtocols(t, func(t *testing.T, protocol string) {
		c := f.client(protocol)
		for _, test := range []struct {
			method, path string
			values       []string
			want         int
			saw, allow   string // saw "-": nobody has
		}{
			{"OPTIONS", "/", nil, 200, "", ""},
			{"OPTIONS", "/", []string{"0"}, 200, "-", ""},
			{"OPTIONS", "/few", []string{"0"}, 200, "-", "GET, OPTIONS, HEAD"},
			{"OPTIONS", "/", []string{"00"}, 200, "-", ""},
			{"OPTIONS", "/", []string{"1"}, 200, "0", ""},
			{"OPTIONS", "/few", []string{"10"}, 200, "9", ""},
			{"OPTIONS", "/", []string{"99999999999999999999"}, 200, "1073741824", ""},
			{"OPTIONS", "/", []string{"-1"}, 400, "-", ""},
			{"OPTIONS", "/", []string{"1, 1"}, 400, "-", ""},
			{"OPTIONS", "/", []string{"1", "1"}, 400, "-", ""},
			{"OPTIONS", "/", []string{""}, 400, "-", ""},
			{"GET", "/", []string{"0"}, 200, "0", ""},
			{"GET", "/", []string{"x"}, 200, "x", ""},
			{"TRACE", "/", []string{"5"}, 405, "-", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
		} {
			r, _ := http.NewRequest(test.method, base+test.path, nil)
			r.Header["Max-Forwards"] = test.values
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body := text(t, res)
			saw := "-"
			if values, ok := res.Header["X-Saw"]; ok {
				saw = values[0]
				b.next()
			}
			if res.StatusCode != test.want || saw != test.saw || res.Header.Get("Allow") != test.allow {
				t.Errorf("%s %s %q: %d, the backend saw %q, Allow %q", test.method, test.path, test.values, res.StatusCode, saw, res.Header.Get("Allow"))
			}
			if saw == "-" && test.want == 200 && (body != "" || res.ContentLength != 0 || res.Header.Get("Date") == "") {
				t.Errorf("%q with length %d, %v", body, res.ContentLength, res.Header)
			}
		}
	})
}

func TestMaxForwards_OfTheServerAsAWhole(t *testing.T) {
	pool, _ := poolOf(t)
	f := serve(t, pool)
	c := f.dial(www)
	for range 2 { // and the connection is kept
		c.send("OPTIONS * HTTP/1.1\nHost: " + www + "\nMax-Forwards: 0\nContent-Length: 1\n\nx")
		if res := c.answer(); res.StatusCode != 200 || res.Header.Get("Content-Length") != "0" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	}
}
