package main

import "path/filepath"

// Debian builds HAProxy without OpenSSL's engines, so it cannot use a token.
var haproxy = server{
	name:    "HAProxy",
	version: []string{"haproxy", "-v"},
	configure: func(s setup) (command, error) {
		config := filepath.Join(s.Dir, "haproxy.cfg")
		return command{args: []string{"haproxy", "-db", "-f", config}}, writeTemplate("haproxy.cfg", config, s)
	},
}
