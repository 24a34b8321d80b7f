package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden report anew")

// sampleRecord is a run of two rounds with one failure, and numbers that are
// easy to follow: nginx takes 10 in the first round and 20 in the second.
func sampleRecord() *record {
	r := &record{
		Begun:   time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC),
		Machine: machine{CPU: "A <fast> CPU", Cores: 2, Kernel: "6.1.0", System: "Debian", Load: "0.00 0.01 0.05"},
		Rounds:  2, Window: "4s", Servers: []string{"Sallyport", "nginx", "HAProxy", "Caddy"},
		Versions: []version{{"nginx", "1.22.1"}},
	}
	factor := map[string]float64{"Sallyport": 0.9, "nginx": 1, "HAProxy": 1.1, "Caddy": 3}
	for _, w := range workloads {
		if w.Name != "get-64" && w.Name != "slow-handshake" {
			continue
		}
		r.Workloads = append(r.Workloads, w)
		for round := 1; round <= 2; round++ {
			for _, s := range servers {
				if w.slow && !s.usesToken {
					continue
				}
				base := 10 * float64(round) * factor[s.name]
				taken := sample{Round: round, Workload: w.Name, Server: s.name, Values: values{"cpu": base, "rate": 1e5 / base}}
				if s.name == "Caddy" && round == 2 {
					taken.Values, taken.Error = nil, "3 of the load's clients\nfailed"
				}
				r.Samples = append(r.Samples, taken)
			}
		}
	}
	r.summarize()
	return r
}

func TestReport_IsAsItWas(t *testing.T) {
	got := sampleRecord().report()
	golden := filepath.Join("testdata", "report.md")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("run the test with -update if this is meant:\n%s", diff)
	}
}

func TestCharts_AreWellFormed(t *testing.T) {
	r := sampleRecord()
	charts := r.charts()
	for _, name := range []string{"chart-http1.svg", "chart-slow-token.svg", overviewFile} {
		if charts[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	for name, picture := range charts {
		if !strings.Contains(r.report(), "("+name+")") {
			t.Errorf("the report does not show %s", name)
		}
		for d := xml.NewDecoder(strings.NewReader(picture)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for _, server := range r.Servers {
			if !strings.Contains(picture, ">"+server+"<") {
				t.Errorf("%s does not name %s", name, server)
			}
		}
		if strings.Contains(picture, "NaN") || strings.Contains(picture, "Inf") {
			t.Errorf("%s has marks at no place", name)
		}
	}
	if slow := charts["chart-slow-token.svg"]; strings.Count(slow, "cannot use a token") != 2 {
		t.Errorf("servers without a token are not told apart:\n%s", slow)
	}
}

// Where more is better the inverse is the cost, so that left is better in every row.
func TestOverview_TurnsRatesRound(t *testing.T) {
	r := sampleRecord()
	for _, w := range r.Workloads {
		if cost, ok := r.cost(w, "Sallyport", "nginx"); !ok || cost < 0.899 || cost > 0.901 {
			t.Errorf("%s: the cost is %v, %t", w.Name, cost, ok)
		}
	}
}

func TestRecord_WritesAllFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	if err := sampleRecord().write(dir); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back record
	if err := json.Unmarshal(content, &back); err != nil {
		t.Fatal(err)
	}
	if s, ok := back.of("get-64", "Sallyport", "cpu"); !ok || s.Spread != (spread{13.5, 9, 18, 2}) || s.Ratios["HAProxy"].Rounds != 2 {
		t.Errorf("got %+v", s)
	}
	if len(back.Samples) != len(sampleRecord().Samples) {
		t.Errorf("%d samples came back", len(back.Samples))
	}
	if _, err := os.Stat(filepath.Join(dir, "report.md")); err != nil {
		t.Error(err)
	}
}

// A run with servers of which none is compared with another has no overview.
func TestReport_OfOneServer(t *testing.T) {
	r := sampleRecord()
	r.Servers = []string{"Caddy"}
	r.summarize()
	if _, ok := r.charts()[overviewFile]; ok || strings.Contains(r.report(), overviewFile) {
		t.Error("there is an overview")
	}
}
