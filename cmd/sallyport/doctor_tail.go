package main

import (
	"errors"
	"fmt"

	"sallyport/hsm"
)

// Bounds of the tail, which medians do not show: a token that signs in 5 ms, but
// takes 2 s for one signature in 20, keeps one client in 20 waiting for as long.
const (
	// tailFails is the share of signatures from which on a token is unfit.
	tailFails = 0.02
	// tailSteps is in how many measurements slow ones must have been: this machine
	// or its line may have stood still during one.
	tailSteps = 2
	// tailFactor tells the tail from a device that is slow altogether, or whose
	// signatures wait for one another.
	tailFactor = 4
)

// tail is the slow signatures of one type of key, in the measurements where most
// were fast.
type tail struct {
	signatures, slow, steps int
	median, slowest         float64 // ms
}

func (r *doctorReport) tailOf(keyType string) (t tail) {
	for _, c := range r.Curves {
		if c.Type != keyType {
			continue
		}
		for _, s := range c.Steps {
			if s.Error != "" || tailFactor*duration(s.P50) > hsm.SlowSignature {
				continue
			}
			if t.signatures == 0 {
				t.median = s.P50
			}
			t.signatures += s.Signatures
			t.slow += s.Slow
			t.median, t.slowest = min(t.median, s.P50), max(t.slowest, s.Slowest)
			if s.Slow > 0 {
				t.steps++
			}
		}
	}
	return t
}

// judgeTails judges the slow signatures of each type of key.
func (r *doctorReport) judgeTails(p loadPlan) {
	for _, k := range p.keys {
		t := r.tailOf(k.Info.Type)
		if t.steps < tailSteps {
			continue
		}
		text := fmt.Sprintf("%d of %d signatures took %s or more, the slowest %s, where half are made within %s",
			t.slow, t.signatures, latency(hsm.SlowSignature), latency(duration(t.slowest)), latency(duration(t.median)))
		const remedy = "a client whose signature is a slow one waits as long for its connection: see what else uses the device, and whether a member of its cluster fails; " +
			"a second token for the same sites takes over where one is slow"
		if float64(t.slow) >= tailFails*float64(t.signatures) {
			r.fail("load", k.Info.Type, hint(errors.New(text), remedy))
			continue
		}
		r.add("load", k.Info.Type, levelWarn, "%s", text)
		r.hint(remedy)
	}
}
