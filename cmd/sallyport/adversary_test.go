package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// most is the bound: no client has the server spend so many times its own bytes
// in memory, nor so many times its own CPU time.
const most = 100

// TestAdversaries has attackers do what costs them least and the server most,
// one after the other, each against a server of its own.
func TestAdversaries(t *testing.T) {
	s := newStronghold(t, 10000)
	var mu sync.Mutex
	report := os.Getenv("ADVERSARY_REPORT")
	var all []outcome
	for _, name := range slices.Sorted(maps.Keys(attacks)) {
		t.Run(name, func(t *testing.T) {
			a := attacks[name]
			n := a.some
			if report != "" {
				n = a.many
			} else {
				t.Parallel()
			}
			o := s.endure(t, name, n)
			t.Log(o)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, o)
		})
	}
}

func (o outcome) memoryRatio() float64 { return float64(o.server.memory) / float64(o.toll.Sent) }
func (o outcome) inUseRatio() float64  { return float64(o.server.inUse) / float64(o.toll.Sent) }
func (o outcome) cpuRatio() float64    { return float64(o.server.cpu) / float64(o.toll.CPU) }

func (o outcome) String() string {
	m, slow, n := o.others.slow("open")
	nm, nslow, nn := o.others.slow("new")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1e3) }
	return fmt.Sprintf("%-22s %5d conns (%d closed) sent %d B got %d | mem %d KB (%.0f:1) inuse %d KB (%.0f:1) kernel %d KB (%.0f:1) | cpu %s vs %s (%.0f:1) | log %.1f:1 | open %s/%s (%d) new %s/%s (%d) failed %v | %s",
		o.name, o.toll.Opened, o.toll.Closed, o.toll.Sent, o.toll.Got, o.server.memory>>10, o.memoryRatio(), o.server.inUse>>10, o.inUseRatio(),
		o.server.kernel>>10, float64(o.server.kernel)/float64(o.toll.Sent), ms(o.server.cpu), ms(o.toll.CPU), o.cpuRatio(), float64(o.server.log)/float64(o.toll.Sent),
		ms(m), ms(slow), n, ms(nm), ms(nslow), nn, o.others.failed, ms(o.took))
}
