package main

import (
	"maps"
	"slices"
)

// spread is what values of several rounds come down to.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Rounds int     `json:"rounds"`
}

// spreadOf takes at least one value.
func spreadOf(byRound map[int]float64) spread {
	sorted := slices.Sorted(maps.Values(byRound))
	return spread{Median: median(sorted), Min: sorted[0], Max: sorted[len(sorted)-1], Rounds: len(sorted)}
}

// median of sorted values.
func median(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// ratios are those of values of the same round; rounds that one of the two
// lacks are left out.
func ratios(values, to map[int]float64) map[int]float64 {
	r := make(map[int]float64)
	for round, v := range values {
		if other, ok := to[round]; ok && other != 0 {
			r[round] = v / other
		}
	}
	return r
}
