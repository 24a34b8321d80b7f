package configs_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is valid and can never take effect is said, and nothing else is.
func TestParse_WarnsOfWhatHasNoEffect(t *testing.T) {
	const pool = "\n      - pool: web\n"
	for _, test := range []struct {
		name, old, new string
		want           []string // "line path: message"
	}{
		{name: "all is well", old: "hosts:", new: "hosts:"},
		{
			name: "pool without a route",
			old:  "pools:", new: "pools:\n  - {name: spare, backends: [{address: 10.0.0.2:80}]}",
			want: []string{"17 pools[0]: no route leads to it"},
		},
		{
			name: "idle connections that are not kept",
			old:  "- name: web", new: "- name: web\n    proxy_protocol: v2\n    timeouts: {idle: 90s, connect: 1s}",
			want: []string{"19 pools[0].timeouts.idle: no connection with a PROXY header is kept"},
		},
		{
			name: "idle connections that are not kept, by number",
			old:  "- name: web", new: "- name: web\n    timeouts: {idle: 90s}\n    idle_connections: 0",
			want: []string{"18 pools[0].timeouts.idle: no connection is kept, by idle_connections"},
		},
		{
			name: "idle connections of h2c",
			old:  "- name: web", new: "- name: web\n    protocol: h2c\n    idle_connections: 4\n    timeouts: {idle: 90s}",
			want: []string{"19 pools[0].idle_connections: requests share a few connections with protocol: h2c"},
		},
		{
			name: "peers of another family",
			old:  `- address: ":443"`, new: "- address: 0.0.0.0:443\n    proxy_protocol: [\"2001:db8::/32\", 10.0.0.1]\n    trusted_proxies: [\"2001:db8::1\"]\n  - address: \"[::]:443\"\n    trusted_proxies: [10.0.0.0/8, \"2001:db8::1\"]\n  - address: \":444\"\n    trusted_proxies: [10.0.0.0/8, \"2001:db8::1\"]",
			want: []string{
				`9 listeners[0].proxy_protocol[0]: nobody connects from 2001:db8::/32, since "0.0.0.0:443" is of the other family`,
				`12 listeners[1].trusted_proxies[0]: nobody connects from 10.0.0.0/8, since "[::]:443" is of the other family`,
			},
		},
		{
			name: "redirects to themselves",
			old:  "sites:", new: "redirects:\n  - {address: \":80\", to: 80}\n  - {address: \":81\", to: 443}\n  - {address: \":82\", to: 8443}\nsites:",
			want: []string{"10 redirects[0].to: port 80 is that of redirects[0], which does not speak TLS"},
		},
		{
			name: "signatures that outlast handshakes",
			old:  "listeners:\n  - address: \":443\"", new: "      sign_timeout: 8s\nlisteners:\n  - address: \":443\"\n    timeouts: {handshake: 8s}",
			want: []string{"7 hsm.tokens[0].sign_timeout: every handshake is over before, after 8s"},
		},
		{
			name: "HSTS of an address",
			old:  "[www.example.org]", new: "[192.0.2.1, \"2001:db8::1\"]\n    hsts: {max_age: 1d}",
			want: []string{"12 sites[0].hsts: browsers take it from names alone, and all hosts of the site are addresses"},
		},
		{
			name: "certificate twice",
			old:  "    routes:", new: "      - key: pkcs11:token=edge%20label;object=www\n      - {key: pkcs11:token=edge%20label;object=www, chain: a.pem}\n    routes:",
			want: []string{"14 sites[0].certificates[1]: is the same as sites[0].certificates[0]"},
		},
		{
			name: "edits",
			old:  pool, new: pool + "        request_fields: {set: [{name: A, value: x}], add: [{name: B, value: x}], remove: [a, B, C_d, b]}\n        response_fields: {remove: [C_d]}\n",
			want: []string{
				`16 sites[0].routes[0].request_fields.remove[0]: "a" is set as well, which takes the place of all that come`,
				`16 sites[0].routes[0].request_fields.remove[2]: requests with "C_d" are refused before, as no listener has allow_underscores`,
				`16 sites[0].routes[0].request_fields.remove[3]: "b" is given twice`,
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, w := range mustParse(t, with(t, test.old, test.new)).Warnings {
				got = append(got, fmt.Sprintf("%d %s", w.Line, w))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}
