package main

import "path/filepath"

// The binary is the one that scripts/bench.sh has put on PATH.
var sallyport = server{
	name:      "Sallyport",
	usesToken: true,
	version:   []string{"sallyport", "version"},
	configure: func(s setup) (command, error) {
		config := filepath.Join(s.Dir, "sallyport.yaml")
		return command{args: []string{"sallyport", "serve", "--config", config}}, writeTemplate("sallyport.yaml", config, s)
	},
}
