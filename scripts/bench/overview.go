package main

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
)

const (
	overviewFile = "chart-overview.svg"
	subject      = "Sallyport" // the server that the others are there to be compared with
	reference    = "nginx"     // whose cost is 1 in the overview
)

// Measures of the overview.
const (
	plotLeft   = 290.0
	plotRight  = chartWidth - margin - 2*ratioSpace
	rowStep    = 26.0
	ratioSpace = 76.0
)

// cost is how much dearer a server is than another in a workload's first
// measure: below 1 it is better.
func (r *record) cost(w workload, server, than string) (float64, bool) {
	m := w.Measures[0]
	if s, ok := r.of(w.Name, server, m.Name); ok && server == than {
		return 1, s.Spread.Rounds > 0
	}
	if m.MoreBetter {
		server, than = than, server
	}
	s, _ := r.of(w.Name, server, m.Name)
	ratio, ok := s.Ratios[than]
	return ratio.Median, ok && ratio.Median > 0
}

// overview draws what everything costs, nginx being 1. There is none without
// nginx and Sallyport.
func (r *record) overview() (string, bool) {
	rows := r.comparable()
	if len(rows) == 0 {
		return "", false
	}
	const top = 120.0
	bottom := top + rowStep*float64(len(rows)) + 22*float64(len(headings(rows)))
	x, low, high := r.scale(rows)
	var c canvas
	c.text(margin, 38, "title", "start", "What the same work costs, compared with "+reference)
	c.text(margin, 58, "muted small", "start", fmt.Sprintf("further left is better; medians of ratios within each of %s", count(r.Rounds, "round")))
	r.legend(&c, 82)
	c.text(plotRight+ratioSpace, top-14, "muted small", "end", "vs "+reference)
	c.text(plotRight+2*ratioSpace, top-14, "muted small", "end", "vs HAProxy")
	for e := low; e <= high; e++ {
		at := x(math.Exp2(float64(e)))
		c.line(at, top-8, at, bottom-6, map[bool]string{true: "reference", false: "line"}[e == 0])
		c.text(at, top-14, "muted small", "middle", powerOf2(e))
	}
	y, group := top, ""
	for _, w := range rows {
		if w.Group != group {
			group = w.Group
			c.text(margin, y+16, "muted small", "start", group)
			y += 22
		}
		r.row(&c, y+16, w, x)
		y += rowStep
	}
	return c.svg(bottom+16, "Ratios of cost"), true
}

// row draws a dot for each server, the subject's above the others.
func (r *record) row(c *canvas, y float64, w workload, x func(float64) float64) {
	c.text(margin+10, y, "", "start", cmp.Or(w.Label, w.Title))
	for _, server := range r.Servers {
		if cost, ok := r.cost(w, server, reference); ok && server != subject {
			c.dot(x(cost), y-4.5, 5, r.colour(server))
		}
	}
	if cost, ok := r.cost(w, subject, reference); ok {
		c.dot(x(cost), y-4.5, 7, r.colour(subject))
	}
	for n, other := range []string{reference, "HAProxy"} {
		text := "–"
		if cost, ok := r.cost(w, subject, other); ok {
			text = times(cost)
		}
		c.text(plotRight+ratioSpace*float64(n+1), y, "heading", "end", text)
	}
}

func (r *record) legend(c *canvas, y float64) {
	at := margin + 6
	for _, server := range r.Servers {
		c.dot(at, y-4.5, 6, r.colour(server))
		c.text(at+12, y, r.emphasis(server), "start", server)
		at += 42 + 8*float64(len(server))
	}
}

// comparable are the workloads of which both sides have values.
func (r *record) comparable() []workload {
	var rows []workload
	for _, w := range r.Workloads {
		if _, ok := r.cost(w, subject, reference); ok {
			rows = append(rows, w)
		}
	}
	return rows
}

func headings(rows []workload) map[string]bool {
	groups := make(map[string]bool)
	for _, w := range rows {
		groups[w.Group] = true
	}
	return groups
}

// powerOf2 writes a ratio of the scale.
func powerOf2(exponent int) string {
	if exponent < 0 {
		return "1/" + strconv.Itoa(1<<-exponent)
	}
	return strconv.Itoa(1<<exponent) + "×"
}

// scale places ratios by their logarithm, between two powers of 2.
func (r *record) scale(rows []workload) (x func(float64) float64, low, high int) {
	for _, w := range rows {
		for _, server := range r.Servers {
			if cost, ok := r.cost(w, server, reference); ok {
				low = min(low, int(math.Floor(math.Log2(cost))))
				high = max(high, int(math.Ceil(math.Log2(cost))))
			}
		}
	}
	step := (plotRight - plotLeft) / float64(max(high-low, 1))
	return func(ratio float64) float64 { return plotLeft + (math.Log2(ratio)-float64(low))*step }, low, high
}
