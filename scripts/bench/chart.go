package main

import (
	"fmt"
	"slices"
)

// Measures of a chart of bars.
const (
	margin    = 24.0
	nameWidth = 100.0
	barLeft   = margin + nameWidth
	barWidth  = chartWidth - barLeft - margin - 70 // leaves room for the value
	barHeight = 16.0
	barStep   = 22.0
)

// charts draws a picture for each group that has something to show, and one of
// all ratios. They are named by their files.
func (r *record) charts() map[string]string {
	files := make(map[string]string)
	for _, group := range groups {
		if panels := r.panels(group); len(panels) > 0 {
			files[group.file] = r.bars(group, panels)
		}
	}
	if picture, ok := r.overview(); ok {
		files[overviewFile] = picture
	}
	return files
}

// panel is the part of a chart for one measure of a workload.
type panel struct {
	w workload
	m measure
}

func (r *record) panels(g group) []panel {
	var panels []panel
	for _, w := range r.Workloads {
		for _, m := range w.Measures {
			if w.Group == g.title && m.Charted {
				panels = append(panels, panel{w, m})
			}
		}
	}
	return panels
}

// bars draws panels below each other, each with a scale of its own.
func (r *record) bars(g group, panels []panel) string {
	var c canvas
	c.text(margin, 38, "title", "start", g.title)
	c.text(margin, 58, "muted small", "start", fmt.Sprintf("median of %s; the whiskers reach from the least to the most", count(r.Rounds, "round")))
	y := 92.0
	for _, p := range panels {
		c.text(margin, y, "heading", "start", p.w.Title)
		c.text(chartWidth-margin, y, "muted small", "end", p.m.Unit+p.m.hint())
		y += 12
		r.panel(&c, y, p)
		y += barStep*float64(len(r.Servers)) + 30
	}
	return c.svg(y-14, g.title)
}

// hint says which way is better where it is not the usual one.
func (m measure) hint() string {
	if m.MoreBetter {
		return " (more is better)"
	}
	return " (less is better)"
}

func (r *record) panel(c *canvas, y float64, p panel) {
	most := 0.0
	for _, server := range r.Servers {
		if s, ok := r.of(p.w.Name, server, p.m.Name); ok {
			most = max(most, s.Spread.Max)
		}
	}
	c.line(barLeft, y-2, barLeft, y+barStep*float64(len(r.Servers))-4, "line")
	for _, server := range r.Servers {
		c.text(barLeft-10, y+12.5, r.emphasis(server), "end", server)
		if s, ok := r.of(p.w.Name, server, p.m.Name); ok && most > 0 {
			r.whiskeredBar(c, y, s.Spread, barWidth/most, r.colour(server))
		} else {
			c.text(barLeft+8, y+12.5, "muted small", "start", r.absence(p.w, server))
		}
		y += barStep
	}
}

func (r *record) whiskeredBar(c *canvas, y float64, s spread, scale float64, class string) {
	c.bar(barLeft, y, s.Median*scale, barHeight, class)
	least, most, middle := barLeft+s.Min*scale, barLeft+s.Max*scale, y+barHeight/2
	if s.Max > s.Min {
		c.line(least, middle, most, middle, "whisker")
		c.line(least, middle-4, least, middle+4, "whisker")
		c.line(most, middle-4, most, middle+4, "whisker")
	}
	c.text(most+8, y+12.5, "", "start", figure(s.Median))
}

// absence says why a server has no value.
func (r *record) absence(w workload, name string) string {
	n := slices.IndexFunc(servers, func(s server) bool { return s.name == name }) // the baseline is none of these
	if w.slow && n >= 0 && !servers[n].usesToken {
		return "cannot use a token"
	}
	return "no valid sample"
}

// colour is a server's class: the subject's, or a grey by its place among the others.
func (r *record) colour(server string) string {
	if server == subject {
		return "subject"
	}
	others := slices.DeleteFunc(slices.Clone(r.Servers), func(s string) bool { return s == subject })
	return fmt.Sprintf("peer%d", slices.Index(others, server))
}

func (r *record) emphasis(server string) string {
	if server == subject {
		return "heading"
	}
	return ""
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
