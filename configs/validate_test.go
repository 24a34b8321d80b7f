package configs_test

import (
	"strings"
	"testing"
)

func TestParse_WhatMakesNoSense(t *testing.T) {
	for _, test := range nonsense {
		t.Run(test.name, test.run)
	}
}

// nonsense fits the schema and can't be meant.
var nonsense = []badInput{
	{
		name: "token without identity",
		old:  "      token: edge label\n", new: "",
		want: []string{
			"3 hsm.tokens[0]: nothing says which token of the module it is",
		},
	},
	{
		name: "token identified twice",
		old:  "token: edge label", new: "token: edge label\n      slot: 0",
		want: []string{
			"3 hsm.tokens[0]: more than one key says which token of the module it is",
		},
	},
	{
		name: "long label",
		old:  "token: edge label", new: "token: a label that is longer than a token can have",
		want: []string{
			"5 hsm.tokens[0].token: no token's label is longer than 32 bytes",
			"13 sites[0].certificates[0].key: names a token that hsm.tokens does not have",
		},
	},
	{
		name: "token name",
		old:  "- name: edge", new: "- name: Edge",
		want: []string{
			`3 hsm.tokens[0].name: "Edge" is not a name`,
		},
	},
	{
		name: "tokens of one name",
		old:  "listeners:", new: "    - {name: edge, module: m, token: b, pin: credential:b}\nlisteners:",
		want: []string{
			`7 hsm.tokens[1].name: "edge" is already the name of hsm.tokens[0]`,
		},
	},
	{
		name: "nothing of a token",
		old:  "listeners:", new: "    - {}\nlisteners:",
		want: []string{
			"7 hsm.tokens[1]: nothing says which token of the module it is",
			"7 hsm.tokens[1].module: is required",
			"7 hsm.tokens[1].name: is required",
			"7 hsm.tokens[1].pin: is required",
		},
	},
	{
		name: "environment",
		old:  "pin:", new: "environment: {A: 1, B-C: x}\n      pin:",
		want: []string{
			"6 hsm.tokens[0].environment: a key is not the name of a variable",
			"6 hsm.tokens[0].environment.A: expected text, found a number",
		},
	},
	{
		name: "listen addresses",
		old:  `  - address: ":443"`, new: "  - address: localhost:443\n  - address: \":https\"\n  - address: systemd:a b\n  - address: 443\n  - {}",
		want: []string{
			`8 listeners[0].address: "localhost:443" is not an address to listen on`,
			`9 listeners[1].address: ":https" is not an address to listen on`,
			`10 listeners[2].address: "a b" is not the name of a socket`,
			"11 listeners[3].address: expected text, found a number",
			"12 listeners[4].address: is required",
		},
	},
	{
		name: "redirects",
		old:  "sites:", new: "redirects:\n  - {address: \":443\"}\n  - {address: host:80, to: 0, status: 303, limits: {fields: 5}}\n  - {address: \":80\", to: 65536, proxy_protocol: [\"::/0\"]}\n  - {}\nsites:",
		want: []string{
			`10 redirects[0].address: ":443" is already the address of listeners[0]`,
			`11 redirects[1].address: "host:80" is not an address to listen on`,
			"11 redirects[1].limits.fields: 5 is out of range",
			"11 redirects[1].status: 303 is not the status of a redirect",
			"11 redirects[1].to: 0 is out of range",
			`12 redirects[2].proxy_protocol[0]: "::/0" trusts everybody`,
			"12 redirects[2].to: 65536 is out of range",
			"13 redirects[3].address: is required",
		},
	},
	{
		name: "listen addresses of one family each",
		old:  `  - address: ":443"`, new: "  - address: 0.0.0.0:443\n  - address: \"[::]:443\"\n  - address: 127.0.0.1:443\n  - address: \"[::1]:443\"\n  - address: \"[::ffff:10.0.0.1]:443\"\n  - address: 127.0.0.1:0\n  - address: 127.0.0.1:0\n  - address: \":9180\"",
		want: []string{
			`0 admin.address: "127.0.0.1:9180" is already the address of listeners[7] (":9180")`,
			`10 listeners[2].address: "127.0.0.1:443" is already the address of listeners[0] ("0.0.0.0:443")`,
			`11 listeners[3].address: "[::1]:443" is already the address of listeners[1] ("[::]:443")`,
			`12 listeners[4].address: "[::ffff:10.0.0.1]:443" is already the address of listeners[0] ("0.0.0.0:443")`,
		},
	},
	{
		name: "same listen address",
		old:  `  - address: ":443"`, new: "  - address: \":443\"\n  - address: 0.0.0.0:443\n  - address: 127.0.0.1:9180",
		want: []string{
			`0 admin.address: "127.0.0.1:9180" is already the address of listeners[2]`,
			`9 listeners[1].address: "0.0.0.0:443" is already the address of listeners[0] (":443")`,
		},
	},
	{
		name: "policy",
		old:  `":443"`, new: "\":443\"\n    policy: moderm",
		want: []string{
			`9 listeners[0].policy: unknown value "moderm"`,
		},
	},
	{
		name: "PROXY headers of everybody",
		old:  `":443"`, new: "\":443\"\n    proxy_protocol: [0.0.0.0/0, 10.0.0.1/8]",
		want: []string{
			`9 listeners[0].proxy_protocol[0]: "0.0.0.0/0" trusts everybody`,
			`9 listeners[0].proxy_protocol[1]: "10.0.0.1/8" has bits behind its prefix`,
		},
	},
	{
		name: "request ID",
		old:  `":443"`, new: "\":443\"\n    request_id: yes",
		want: []string{
			`9 listeners[0].request_id: unknown value "yes"`,
		},
	},
	{
		name: "trusted proxies",
		old:  `":443"`, new: "\":443\"\n    trusted_proxies: [0.0.0.0/0, \"::/0\", 10.0.0.1/8, proxy, \"::ffff:10.0.0.0/104\"]",
		want: []string{
			`9 listeners[0].trusted_proxies[0]: "0.0.0.0/0" trusts everybody`,
			`9 listeners[0].trusted_proxies[1]: "::/0" trusts everybody`,
			`9 listeners[0].trusted_proxies[2]: "10.0.0.1/8" has bits behind its prefix`,
			`9 listeners[0].trusted_proxies[3]: "proxy" is not a network`,
			`9 listeners[0].trusted_proxies[4]: "::ffff:10.0.0.0/104" is an IPv4 network in IPv6 form`,
		},
	},
	{
		name: "hosts",
		old:  "[www.example.org]", new: `[a.example.org., "a.test:443", "[::1]", "*", "a.*.test", "w*.test", münchen.test, a_b..c, 10.0.0.300, "fe80::1%eth0", a b]`,
		want: []string{
			`11 sites[0].hosts[0]: "a.example.org." ends with a dot`,
			`11 sites[0].hosts[10]: "a b" is not a host`,
			`11 sites[0].hosts[1]: "a.test:443" has a port or brackets`,
			`11 sites[0].hosts[2]: "[::1]" has a port or brackets`,
			`11 sites[0].hosts[3]: "*" has a wildcard where none can be`,
			`11 sites[0].hosts[4]: "a.*.test" has a wildcard where none can be`,
			`11 sites[0].hosts[5]: "w*.test" has a wildcard where none can be`,
			`11 sites[0].hosts[6]: "münchen.test" is not in ASCII`,
			`11 sites[0].hosts[7]: "a_b..c" is not a host`,
			`11 sites[0].hosts[8]: "10.0.0.300" is not a host`,
			`11 sites[0].hosts[9]: "fe80::1%eth0" has a zone`,
		},
	},
	{
		name: "host twice",
		old:  "[www.example.org]", new: "[www.example.org, WWW.example.org]",
		want: []string{
			`11 sites[0].hosts[1]: "www.example.org" is given twice, first as sites[0].hosts[0]`,
		},
	},
	{
		name: "shared host",
		old:  "pools:", new: "  - {name: b, hosts: [www.example.org], certificates: [{key: 'pkcs11:object=b'}], routes: [{pool: web}]}\npools:",
		want: []string{
			`16 sites[1].hosts[0]: sites "www" and "b" share the host "www.example.org" (sites[0].hosts[0])`,
		},
	},
	{
		name: "empty site",
		old:  "pools:", new: "  - {}\npools:",
		want: []string{
			"16 sites[1].certificates: at least one certificate is required",
			"16 sites[1].hosts: at least one host is required",
			"16 sites[1].name: is required",
			"16 sites[1].routes: at least one route is required",
		},
	},
	{
		name: "routes",
		old:  "- pool: web", new: "- pool: wbe\n      - path: api\n      - {path: \"/a?b\", pool: x}\n      - {path: /../x, pool: web}\n      - {path: \"/a b\", pool: web}",
		want: []string{
			`15 sites[0].routes[0].pool: no pool named "wbe"`,
			`16 sites[0].routes[1].path: "api" does not begin with a slash`,
			"16 sites[0].routes[1].pool: is required",
			`17 sites[0].routes[2].path: "/a?b" is more than a path`,
			`17 sites[0].routes[2].pool: no pool named "x"`,
			`18 sites[0].routes[3].path: "/../x" has a segment "." or ".."`,
			`19 sites[0].routes[4].path: "/a b" holds characters that no request's path has`,
		},
	},
	{
		name: "same route",
		old:  "- pool: web", new: "- pool: web\n      - {path: /, pool: web}",
		want: []string{
			`16 sites[0].routes[1].path: "/" is already the path of sites[0].routes[0]`,
		},
	},
	{
		name: "error pages",
		old:  "- pool: web", new: "- pool: web\n    error_pages: [{}, {status: 302, file: a.html}, {status: 502, file: page.php}, {status: 502, file: /b.txt}]",
		want: []string{
			"16 sites[0].error_pages[0].file: is required",
			"16 sites[0].error_pages[0].status: is required",
			"16 sites[0].error_pages[1].status: 302 is out of range",
			`16 sites[0].error_pages[2].file: "page.php" has no extension that tells its type`,
			`16 sites[0].error_pages[3].status: "502" is already the status of sites[0].error_pages[2]`,
		},
	},
	{
		name: "methods",
		old:  "- pool: web", new: "- pool: web\n        methods: [GET, get, CONNECT, \"A B\", GET]\n        max_body: -1",
		want: []string{
			`16 sites[0].routes[0].methods[1]: "get" is not a method`,
			"16 sites[0].routes[0].methods[2]: CONNECT is never forwarded",
			`16 sites[0].routes[0].methods[3]: "A B" is not a method`,
			"16 sites[0].routes[0].methods[4]: GET is given twice",
			`17 sites[0].routes[0].max_body: "-1" is not a size`,
		},
	},
	{
		name: "field edits",
		old:  "- pool: web", new: "- pool: web\n        request_fields: {set: [{name: Host, value: x}, {name: X_Forwarded_For, value: x}, {name: A, value: é}, {name: a, value: b}, {}]}\n        response_fields: {add: [{name: 'A B', value: ' x'}, {name: A, value: \"a\\r\\nB: c\"}], remove: [content-length, 'A:']}",
		want: []string{
			`16 sites[0].routes[0].request_fields.set[0].name: the field "Host" is not edited`,
			`16 sites[0].routes[0].request_fields.set[1].name: the field "X_Forwarded_For" is not edited`,
			`16 sites[0].routes[0].request_fields.set[2].value: holds characters that no field should have`,
			`16 sites[0].routes[0].request_fields.set[3].name: "a" is already the name of sites[0].routes[0].request_fields.set[2]`,
			"16 sites[0].routes[0].request_fields.set[4].name: is required",
			"16 sites[0].routes[0].request_fields.set[4].value: is required",
			`17 sites[0].routes[0].response_fields.add[0].name: "A B" is not the name of a field`,
			"17 sites[0].routes[0].response_fields.add[0].value: begins or ends with a blank",
			"17 sites[0].routes[0].response_fields.add[1].value: holds a control character or broken UTF-8",
			`17 sites[0].routes[0].response_fields.remove[0]: the field "content-length" is not edited`,
			`17 sites[0].routes[0].response_fields.remove[1]: "A:" is not the name of a field`,
		},
	},
	{
		name: "HSTS without an age",
		old:  "- pool: web", new: "- pool: web\n    hsts: {preload: true}",
		want: []string{
			"16 sites[0].hsts.max_age: is required for the other keys to mean something",
		},
	},
	{
		name: "HSTS of no sensible age",
		old:  "- pool: web", new: "- pool: web\n    hsts: {max_age: 731d, include_subdomains: true}",
		want: []string{
			`16 sites[0].hsts.max_age: "731d" is longer than two years`,
		},
	},
	{
		name: "HSTS in hours",
		old:  "- pool: web", new: "- pool: web\n    hsts: {max_age: 8760h}",
		want: []string{
			`16 sites[0].hsts.max_age: "8760h" is not a number of days`,
		},
	},
	{
		name: "HSTS preload too early",
		old:  "- pool: web", new: "- pool: web\n    hsts: {max_age: 364d, include_subdomains: true, preload: true}",
		want: []string{
			"16 sites[0].hsts.preload: goes with include_subdomains and a max_age of a year at least",
		},
	},
	{
		name: "HSTS preload for one name",
		old:  "- pool: web", new: "- pool: web\n    hsts: {max_age: 365d, preload: true}",
		want: []string{
			"16 sites[0].hsts.preload: goes with include_subdomains and a max_age of a year at least",
		},
	},
	{
		name: "unknown pool unless pools are unreadable",
		old:  "- name: web", new: "- name: 5",
		want: []string{
			"17 pools[0].name: expected text, found a number",
		},
	},
	{
		name: "unreadable label says nothing of keys",
		old:  "token: edge label", new: "token: [x]",
		want: []string{
			"5 hsm.tokens[0].token: expected text, found a list",
		},
	},
	{
		name: "variable for a setting that the file spoils",
		new:  valid + "admin: ~\n", environ: []string{"SALLYPORT_ADMIN_ADDRESS="},
		want: []string{
			"0 SALLYPORT_ADMIN_ADDRESS: is set and empty",
			"20 admin: has no value",
		},
	},
	{
		name: "key of another token",
		old:  "token=edge%20label", new: "token=prod",
		want: []string{
			"13 sites[0].certificates[0].key: names a token that hsm.tokens does not have",
		},
	},
	{
		name: "no URI",
		old:  "pkcs11:token=edge%20label;object=www", new: "www.key",
		want: []string{
			"13 sites[0].certificates[0].key: is not the URI of a key on a token",
		},
	},
	{
		name: "bad URI",
		old:  "pkcs11:token=edge%20label;object=www", new: "\"pkcs11:object=a b%zz\"",
		want: []string{
			"13 sites[0].certificates[0].key: is not a URI",
		},
	},
	{
		name: "pin-source beside a pin",
		old:  "object=www", new: "object=www?pin-source=/etc/edge.pin",
		want: []string{
			"13 sites[0].certificates[0].key: has a pin-source, and so has the token: hsm.tokens[0].pin",
		},
	},
	{
		name: "two pin-sources",
		new:  withoutPIN("pkcs11:token=edge%20label;object=www?pin-source=/a\n      - key: pkcs11:token=edge%20label;object=b?pin-source=/b"),
		want: []string{
			"13 sites[0].certificates[1].key: has another pin-source than sites[0].certificates[0].key for the same token",
		},
	},
	{
		name: "pin-source for no token",
		old:  "token=edge%20label;object=www", new: "object=www?pin-source=/etc/edge.pin",
		want: []string{
			"13 sites[0].certificates[0].key: has a pin-source, and names no token of hsm.tokens that it could be for",
		},
	},
	{
		name: "pin-source for two tokens",
		new:  strings.Replace(withoutPIN("pkcs11:token=edge%20label;object=www?pin-source=/a"), "listeners:", "    - {name: b, module: m, token: edge label, pin: none}\nlisteners:", 1),
		want: []string{
			"3 hsm.tokens[0].pin: is required",
			"13 sites[0].certificates[0].key: has a pin-source, and names more than one token of hsm.tokens",
		},
	},
	{
		name: "pin-source that is a command",
		old:  "object=www", new: "object=www?pin-source=|/bin/pin",
		want: []string{
			"13 sites[0].certificates[0].key: has a pin-source that is a command (not shown), which is not run",
		},
	},
	{
		name: "backends",
		old:  "- address: 10.0.0.1:8080", new: "- address: http://10.0.0.1\n      - address: 10.0.0.1\n      - address: :80\n      - address: a:0\n      - address: A:80\n      - address: a:80",
		want: []string{
			`19 pools[0].backends[0].address: "http://10.0.0.1" is a URL`,
			`20 pools[0].backends[1].address: "10.0.0.1" is not an address`,
			`21 pools[0].backends[2].address: ":80" is not an address`,
			`22 pools[0].backends[3].address: "a:0" is not an address`,
			`24 pools[0].backends[5].address: "a:80" is already the address of pools[0].backends[4]`,
		},
	},
	{
		name: "balance",
		old:  "- name: web", new: "- name: web\n    balance: random",
		want: []string{
			`18 pools[0].balance: unknown value "random"`,
		},
	},
	{
		name: "PROXY header on shared connections",
		old:  "- name: web", new: "- name: web\n    proxy_protocol: v1\n    protocol: h2c",
		want: []string{
			"18 pools[0].proxy_protocol: does not go with protocol: h2c",
		},
	},
	{
		name: "protocol of a pool",
		old:  "- name: web", new: "- name: web\n    protocol: h3",
		want: []string{
			`18 pools[0].protocol: unknown value "h3"`,
		},
	},
	{
		name: "PROXY header of another version",
		old:  "- name: web", new: "- name: web\n    proxy_protocol: v3",
		want: []string{
			`18 pools[0].proxy_protocol: unknown value "v3"`,
		},
	},
	{
		name: "admin",
		old:  "hsm:\n", new: "admin: {address: Off}\nhsm:\n",
		want: []string{
			`1 admin.address: "Off" is not an address to listen on`,
		},
	},
	{
		name: "admin socket",
		old:  "hsm:\n", new: "admin: {socket: admin.sock}\nhsm:\n",
		want: []string{
			`1 admin.socket: "admin.sock" is not the path of a socket`,
		},
	},
}
