package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSpreadOf(t *testing.T) {
	for name, c := range map[string]struct {
		values map[int]float64
		want   spread
	}{
		"one":              {map[int]float64{3: 7}, spread{7, 7, 7, 1}},
		"an odd number":    {map[int]float64{1: 9, 2: 1, 3: 4}, spread{4, 1, 9, 3}},
		"an even number":   {map[int]float64{1: 4, 2: 1, 3: 2, 4: 10}, spread{3, 1, 10, 4}},
		"with an outsider": {map[int]float64{1: 5, 2: 5, 3: 500}, spread{5, 5, 500, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spreadOf(c.values); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// A round in which one of the two failed says nothing about their ratio.
func TestRatios_AreMadeWithinRounds(t *testing.T) {
	got := ratios(map[int]float64{1: 10, 2: 20, 3: 30, 5: 1}, map[int]float64{1: 20, 2: 10, 4: 1, 5: 0})
	if want := map[int]float64{1: 0.5, 2: 2}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.04567: "0.046", 0.4567: "0.457", 4.567: "4.57", 9.999: "10.0", 45.67: "45.7", 456.7: "457", 999.6: "1,000",
		4567: "4,570", 45678: "45,700", 1234567: "1,230,000",
	} {
		if got := figure(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}
