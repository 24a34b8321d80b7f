package main

import (
	"context"
	"crypto/tls"
)

// workload is one thing that is measured.
type workload struct {
	Name     string    `json:"name"`
	Group    string    `json:"group"` // of the report and its charts
	Title    string    `json:"title"`
	Label    string    `json:"-"`        // the title where there is little room, if it is too long
	Measures []measure `json:"measures"` // the first is the one that servers are compared by

	quick bool // part of --quick
	slow  bool // on the slow token: only for servers that can use one
	fresh bool // on a server that was just started
	run   func(context.Context, *bench, *instance) (values, error)
}

// values are a sample's, by the measures' names.
type values map[string]float64

// measure is a figure of a workload.
type measure struct {
	Name       string `json:"name"`
	Unit       string `json:"unit"`
	MoreBetter bool   `json:"more_is_better"`
	Charted    bool   `json:"-"`
}

// group is a part of the report, with a chart.
type group struct {
	title string
	file  string
}

// What workloads call their groups.
const (
	groupHandshakes = "Handshakes"
	groupHTTP1      = "Small requests over HTTP/1.1"
	groupHTTP2      = "Small requests over HTTP/2"
	groupBodies     = "Bodies of 1 MiB"
	groupOpen       = "Long-lived connections"
	groupBursts     = "Bursts of new clients"
	groupDistance   = "Clients 50 ms away"
	groupToken      = "A token that takes 5 ms for a signature"
)

// groups in the report's order.
var groups = []group{
	{groupHandshakes, "chart-handshakes.svg"},
	{groupHTTP1, "chart-http1.svg"},
	{groupHTTP2, "chart-http2.svg"},
	{groupBodies, "chart-bodies.svg"},
	{groupOpen, "chart-connections.svg"},
	{groupBursts, "chart-bursts.svg"},
	{groupDistance, "chart-distance.svg"},
	{groupToken, "chart-slow-token.svg"},
}

// costs are the measures of work that keeps the CPU busy.
func costs(unit, units string) []measure {
	return []measure{
		{Name: "cpu", Unit: "µs of CPU per " + unit, Charted: true},
		{Name: "rate", Unit: units + " a second", MoreBetter: true},
	}
}

// latencies are the measures of requests that come at a fixed rate.
var latencies = []measure{
	{Name: "p99", Unit: "ms, 99th percentile", Charted: true},
	{Name: "p50", Unit: "ms, median", Charted: true},
}

// steady measures a load that keeps on.
func steady(newLoad func(*bench) load) func(context.Context, *bench, *instance) (values, error) {
	return func(ctx context.Context, b *bench, i *instance) (values, error) {
		u, err := measureLoad(ctx, i, newLoad(b), b.pacing)
		if err != nil {
			return nil, err
		}
		return values{"cpu": u.perUnit(), "rate": u.rate()}, nil
	}
}

// Clients at once, where a workload's title does not say so.
const (
	handshakeClients = 16
	slowClients      = 64
	bodyConnections  = 8
	echoClients      = 32
)

func shaking(label string, version uint16, resumed bool) func(context.Context, *bench, *instance) (values, error) {
	return steady(func(*bench) load {
		return &handshakes{clients: handshakeClients, label: label, version: version, resumed: resumed}
	})
}

func getting(connections int) func(context.Context, *bench, *instance) (values, error) {
	return steady(func(b *bench) load { return b.wrk(connections, helloPath) })
}

func streaming(connections, streams int) func(context.Context, *bench, *instance) (values, error) {
	return steady(func(b *bench) load { return b.h2load(connections, streams, helloPath) })
}

// workloads in the order of turns, tables and charts.
var workloads = []workload{
	{Name: "handshake-ecdsa", Group: groupHandshakes, Title: "TLS 1.3 in full, ECDSA P-256", quick: true,
		Measures: costs("handshake", "handshakes"), run: shaking("ec", tls.VersionTLS13, false)},
	{Name: "handshake-rsa", Group: groupHandshakes, Title: "TLS 1.3 in full, RSA-2048",
		Measures: costs("handshake", "handshakes"), run: shaking("rsa", tls.VersionTLS13, false)},
	{Name: "resumed-tls13", Group: groupHandshakes, Title: "TLS 1.3 resumed", quick: true,
		Measures: costs("handshake", "handshakes"), run: shaking("ec", tls.VersionTLS13, true)},
	{Name: "resumed-tls12", Group: groupHandshakes, Title: "TLS 1.2 resumed",
		Measures: costs("handshake", "handshakes"), run: shaking("ec", tls.VersionTLS12, true)},
	{Name: "get-8", Group: groupHTTP1, Title: "8 connections", Measures: costs("request", "requests"), run: getting(8)},
	{Name: "get-64", Group: groupHTTP1, Title: "64 connections", quick: true, Measures: costs("request", "requests"), run: getting(64)},
	{Name: "get-512", Group: groupHTTP1, Title: "512 connections", Measures: costs("request", "requests"), run: getting(512)},
	{Name: "h2-32x10", Group: groupHTTP2, Title: "32 connections of 10 streams", quick: true,
		Measures: costs("request", "requests"), run: streaming(32, 10)},
	{Name: "h2-1x100", Group: groupHTTP2, Title: "1 connection of 100 streams",
		Measures: costs("request", "requests"), run: streaming(1, 100)},
	{Name: "download-http1", Group: groupBodies, Title: "Download over HTTP/1.1", Measures: costs("MiB", "MiB"),
		run: steady(func(b *bench) load { return b.wrk(bodyConnections, downloadPath) })},
	{Name: "download-http2", Group: groupBodies, Title: "Download over HTTP/2", Measures: costs("MiB", "MiB"),
		run: steady(func(b *bench) load { return b.h2load(bodyConnections, 1, downloadPath) })},
	{Name: "upload-http1", Group: groupBodies, Title: "Upload over HTTP/1.1", Measures: costs("MiB", "MiB"),
		run: steady(func(b *bench) load { return b.wrkUpload(bodyConnections) })},
	{Name: "upload-http2", Group: groupBodies, Title: "Upload over HTTP/2", Measures: costs("MiB", "MiB"),
		run: steady(func(b *bench) load { return b.h2loadUpload(bodyConnections, 1) })},
	{Name: "websocket", Group: groupOpen, Title: "WebSocket echo of 64 bytes", Measures: costs("echo", "echoes"),
		run: steady(func(*bench) load { return &echoes{clients: echoClients} })},
	{Name: "idle-memory", Group: groupOpen, Title: "Memory at 3,000 idle connections", Label: "Memory of an idle connection", fresh: true,
		Measures: []measure{{Name: "memory", Unit: "KiB per connection", Charted: true}}, run: idleMemory},
	{Name: "latency", Group: groupOpen, Title: "400 requests a second", Label: "Latency of requests, p99",
		Measures: latencies, run: latency(false)},
	{Name: "burst-1000", Group: groupBursts, Title: "1,000 clients in one moment", quick: true, Measures: bursts, run: burst(1000)},
	{Name: "burst-4000", Group: groupBursts, Title: "4,000 clients in one moment", Measures: bursts, run: burst(4000)},
	{Name: "far-page", Group: groupDistance, Title: "100 requests on one connection of HTTP/2, 100 ms each", Label: "Page of 100 requests, HTTP/2",
		Measures: milliseconds, quick: true, run: distant(pages, page)},
	{Name: "far-first", Group: groupDistance, Title: "First byte on a new connection", Measures: milliseconds, run: distant(1, firstByte(false))},
	{Name: "far-resumed", Group: groupDistance, Title: "First byte on a resumed connection", Measures: milliseconds, run: distant(1, firstByte(true))},
	{Name: "far-down-http1", Group: groupDistance, Title: "Download of 30 MB over HTTP/1.1", Measures: milliseconds, run: distant(farTransfers, transfer("1.1", false))},
	{Name: "far-down-http2", Group: groupDistance, Title: "Download of 30 MB over HTTP/2", Measures: milliseconds, run: distant(farTransfers, transfer("2", false))},
	{Name: "far-up-http1", Group: groupDistance, Title: "Upload of 30 MB over HTTP/1.1", Measures: milliseconds, run: distant(farTransfers, transfer("1.1", true))},
	{Name: "far-up-http2", Group: groupDistance, Title: "Upload of 30 MB over HTTP/2", Measures: milliseconds, run: distant(farTransfers, transfer("2", true))},
	{Name: "latency-storm", Group: groupToken, quick: true, slow: true,
		Title: "400 requests a second amid 200 handshakes", Label: "Latency of requests, p99, in a storm",
		Measures: append(latencies[:2:2], measure{Name: "rate", Unit: "handshakes a second", MoreBetter: true}), run: latency(true)},
	{Name: "slow-handshake", Group: groupToken, quick: true, slow: true, Title: "TLS 1.3 in full, ECDSA P-256, 64 clients", Label: "Handshakes in full, time for each",
		Measures: []measure{
			{Name: "rate", Unit: "handshakes a second", MoreBetter: true, Charted: true},
			{Name: "cpu", Unit: "µs of CPU per handshake"},
		},
		run: steady(func(*bench) load {
			return &handshakes{clients: slowClients, label: "ec", version: tls.VersionTLS13}
		})},
}
