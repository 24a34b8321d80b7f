package main

import (
	"math"
	"strconv"
	"strings"
)

// figure writes a value that is not negative with three digits that count, and
// commas at thousands.
func figure(v float64) string {
	digits := 0
	if v > 0 {
		unit := math.Pow(10, math.Floor(math.Log10(v))-2) // of the third digit
		v = math.Round(v/unit) * unit
		digits = 2 - int(math.Floor(math.Log10(v)))
	}
	whole, fraction, _ := strings.Cut(strconv.FormatFloat(v, 'f', min(max(digits, 0), 3), 64), ".")
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "," + whole[at:]
	}
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

// times writes a ratio.
func times(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "×" }
