package main

import "path/filepath"

// Caddy reads keys from files only.
var caddy = server{
	name:    "Caddy",
	version: []string{"caddy", "version"},
	configure: func(s setup) (command, error) {
		config := filepath.Join(s.Dir, "Caddyfile")
		return command{
			args:        []string{"caddy", "run", "--config", config, "--adapter", "caddyfile"},
			environment: []string{"HOME=" + s.Dir, "XDG_DATA_HOME=" + s.Dir, "XDG_CONFIG_HOME=" + s.Dir},
		}, writeTemplate("Caddyfile", config, s)
	},
}
