package main

import (
	"strings"
	"testing"
)

const wrkOutput = `Running 2s test @ https://127.0.0.1:8443/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.31ms  511.55us  13.30ms   84.46%
    Req/Sec    48.87k     2.81k   52.36k    85.00%
  97300 requests in 2.00s, 20.41MB read
Requests/sec:  48624.80
Transfer/sec:     10.20MB
`

func TestCheckWrk(t *testing.T) {
	for name, c := range map[string]struct{ output, want string }{
		"good":                     {wrkOutput, ""},
		"errors of connections":    {wrkOutput + "  Socket errors: connect 0, read 3, write 0, timeout 0\n", "read 3"},
		"answers that are none":    {strings.Replace(wrkOutput, "Requests/sec", "  Non-2xx or 3xx responses: 12\nRequests/sec", 1), "responses: 12"},
		"nothing done":             {strings.Replace(wrkOutput, "97300 requests", "0 requests", 1), "no requests"},
		"nothing that is expected": {"unable to connect to 127.0.0.1:1\n", "no requests"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, checkWrk([]byte(c.output)), c.want) })
	}
}

const h2loadOutput = `TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Application protocol: h2

finished in 2.00s, 66100.50 req/s, 8.03MB/s
requests: 132201 total, 132521 started, 132201 done, 132201 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 132201 2xx, 0 3xx, 0 4xx, 0 5xx
`

func TestCheckH2load(t *testing.T) {
	for name, c := range map[string]struct{ output, want string }{
		"good":                  {h2loadOutput, ""},
		"failed requests":       {strings.Replace(h2loadOutput, "0 failed", "5 failed", 1), "5 failed"},
		"errors of connections": {strings.Replace(h2loadOutput, "0 errored", "5 errored", 1), "5 errored"},
		"answers that are none": {strings.Replace(h2loadOutput, "132201 2xx", "132200 2xx", 1), "132200 with a status of 2xx"},
		"another protocol":      {strings.Replace(h2loadOutput, "protocol: h2", "protocol: http/1.1", 1), "not agreed"},
		"no connection":         {"Application protocol: h2\nfinished in 1s\n", "0 with"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, checkH2load([]byte(c.output)), c.want) })
	}
}

// wantError wants an error that says so, or none for "".
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
}
