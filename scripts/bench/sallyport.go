package main

import "path/filepath"

// The binary is the one that scripts/bench.sh has put on PATH.
var sallyport = sallyportOf("Sallyport", "sallyport")

// baselineName is what another binary of Sallyport is called, such as one from before a
// change.
const baselineName = "Baseline"

func sallyportOf(name, binary string) server {
	return server{
		name:      name,
		usesToken: true,
		version:   []string{binary, "version"},
		configure: func(s setup) (command, error) {
			config := filepath.Join(s.Dir, "sallyport.yaml")
			return command{args: []string{binary, "serve", "--config", config}}, writeTemplate("sallyport.yaml", config, s)
		},
	}
}
