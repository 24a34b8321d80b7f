package main

import (
	"fmt"
	"html"
	"strings"
)

// canvas collects the marks of an SVG picture. Coordinates are pixels.
type canvas struct {
	marks strings.Builder
}

const chartWidth = 760

// style has a picture follow the reader's choice of light or dark. The subject
// of the comparison has the colour, the others are grey.
const style = `
text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #1f2328 }
.ground { fill: #ffffff }
.title { font-size: 18px; font-weight: 600 }
.heading { font-weight: 600 }
.muted { fill: #656d76 }
.small { font-size: 12px }
.line { stroke: #d8dee4; stroke-width: 1 }
.reference { stroke: #656d76; stroke-width: 1.5 }
.whisker { stroke: #1f2328; stroke-width: 1.2; opacity: 0.75 }
.subject { fill: #0a72c9 }
.peer0 { fill: #8c959f }
.peer1 { fill: #a9b2bb }
.peer2 { fill: #c6cdd4 }
.dot { stroke: #ffffff; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.ground { fill: #0d1117 }
.muted { fill: #8d96a0 }
.line { stroke: #30363d }
.reference { stroke: #8d96a0 }
.whisker { stroke: #e6edf3 }
.subject { fill: #3b94f0 }
.peer0 { fill: #7d8590 }
.peer1 { fill: #636b75 }
.peer2 { fill: #4c545d }
.dot { stroke: #0d1117 }
}
`

func (c *canvas) text(x, y float64, class, anchor, text string) {
	fmt.Fprintf(&c.marks, `<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, html.EscapeString(text))
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(&c.marks, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`+"\n", x1, y1, x2, y2, class)
}

func (c *canvas) bar(x, y, width, height float64, class string) {
	fmt.Fprintf(&c.marks, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" class="%s"/>`+"\n", x, y, max(width, 1), height, class)
}

func (c *canvas) dot(x, y, radius float64, class string) {
	fmt.Fprintf(&c.marks, `<circle cx="%.1f" cy="%.1f" r="%.1f" class="dot %s"/>`+"\n", x, y, radius, class)
}

// svg is the whole picture. Its title is what is read out.
func (c *canvas) svg(height float64, title string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %.[2]f" width="%[1]d" height="%.[2]f" role="img">
<title>%[3]s</title>
<style>%[4]s</style>
<rect width="%[1]d" height="%.[2]f" class="ground"/>
%[5]s</svg>
`, chartWidth, height, html.EscapeString(title), style, c.marks.String())
}
