package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// record is all that a run has found out, as in results.json.
type record struct {
	Begun     time.Time  `json:"begun"`
	Machine   machine    `json:"machine"`
	Versions  []version  `json:"versions"`
	Rounds    int        `json:"rounds"` // completed
	Window    string     `json:"window"`
	Servers   []string   `json:"servers"`
	Workloads []workload `json:"workloads"`
	Samples   []sample   `json:"samples"`
	Summaries []summary  `json:"summaries"`
}

// sample is one server under one workload in one round: values, or why not.
type sample struct {
	Round    int    `json:"round"`
	Workload string `json:"workload"`
	Server   string `json:"server"`
	Values   values `json:"values,omitempty"`
	Error    string `json:"error,omitempty"`
}

// summary is one measure of one server over all rounds.
type summary struct {
	Workload string            `json:"workload"`
	Server   string            `json:"server"`
	Measure  string            `json:"measure"`
	Spread   spread            `json:"spread"`
	Ratios   map[string]spread `json:"ratios"` // to other servers, made within each round
}

// of finds a summary; there is none for what was not measured or always failed.
func (r *record) of(workload, server, measure string) (summary, bool) {
	for _, s := range r.Summaries {
		if s.Workload == workload && s.Server == server && s.Measure == measure {
			return s, true
		}
	}
	return summary{}, false
}

// series is a measure's values by round.
func (r *record) series(workload, server, measure string) map[int]float64 {
	values := make(map[int]float64)
	for _, s := range r.Samples {
		if v, ok := s.Values[measure]; ok && s.Workload == workload && s.Server == server {
			values[s.Round] = v
		}
	}
	return values
}

// failures is how many samples have no values.
func (r *record) failures() int {
	n := 0
	for _, s := range r.Samples {
		if s.Error != "" {
			n++
		}
	}
	return n
}

// summarize makes the summaries anew.
func (r *record) summarize() {
	r.Summaries = nil
	for _, w := range r.Workloads {
		for _, server := range r.Servers {
			for _, m := range w.Measures {
				own := r.series(w.Name, server, m.Name)
				if len(own) == 0 {
					continue
				}
				s := summary{Workload: w.Name, Server: server, Measure: m.Name, Spread: spreadOf(own), Ratios: make(map[string]spread)}
				for _, other := range r.Servers {
					ratio := ratios(own, r.series(w.Name, other, m.Name))
					if other != server && len(ratio) > 0 {
						s.Ratios[other] = spreadOf(ratio)
					}
				}
				r.Summaries = append(r.Summaries, s)
			}
		}
	}
}

// write writes all files of the report into a folder.
func (r *record) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r.summarize()
	content, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	files := r.charts()
	files["results.json"] = string(content) + "\n"
	files["report.md"] = r.report()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
