package main

import (
	"strings"
	"testing"
)

func TestParseOptions(t *testing.T) {
	for line, want := range map[string]string{
		"":                        "",
		"--quick --rounds 3":      "",
		"--only get-8,websocket":  "",
		"--servers nginx,haproxy": "",
		"--only get-9":            `--only: there is no "get-9", only`,
		"--servers nginx,iis":     `--servers: there is no "iis", only sallyport, nginx`,
		"--rounds -1":             "--rounds: -1",
		"--baseline /no/such":     "--baseline: ",
		"report":                  `unknown argument "report"`,
	} {
		t.Run(line, func(t *testing.T) {
			o, err := parseOptions(strings.Fields(line))
			wantError(t, err, want)
			if want == "" && (o.rounds == 0 || len(o.workloads) == 0 || len(o.servers) == 0) {
				t.Errorf("nothing would be done: %+v", o)
			}
		})
	}
}

// Turns are taken in one order, whatever the order on the command line.
func TestParseOptions_KeepsTheOrderOfTurns(t *testing.T) {
	o, err := parseOptions([]string{"--servers", "Caddy,Sallyport", "--only", "websocket,get-8"})
	if err != nil {
		t.Fatal(err)
	}
	if o.servers[0].name != "Sallyport" || o.servers[1].name != "Caddy" || o.workloads[0].Name != "get-8" || o.workloads[1].Name != "websocket" {
		t.Errorf("got %v, %v", o.servers, o.workloads)
	}
}

// A baseline takes its turns right behind what it is compared with.
func TestParseOptions_Baseline(t *testing.T) {
	o, err := parseOptions([]string{"--servers", "sallyport,nginx", "--baseline", "/bin/sh"})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.servers) != 3 || o.servers[1].name != baselineName || o.servers[1].version[0] != "/bin/sh" {
		t.Errorf("got %v", o.servers)
	}
	if len(servers) != 4 {
		t.Errorf("the list of servers has grown to %d", len(servers))
	}
}
