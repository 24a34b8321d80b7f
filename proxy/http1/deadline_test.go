package http1

import (
	"testing"
	"time"
)

func TestDeadline_IsSetAsSeldomAsCanBe(t *testing.T) {
	var d deadline
	var set []time.Time
	setter := func(at time.Time) error {
		set = append(set, at)
		return nil
	}
	for range 1000 {
		d.within(time.Hour, setter)
	}
	if len(set) != 1 {
		t.Errorf("set %d times", len(set))
	}
	if left := time.Until(set[0]); left > time.Hour+time.Hour/8 || left < 50*time.Minute {
		t.Errorf("it passes in %v", left)
	}
	// More than an eighth of it is gone, for a longer wait; it is too far, for a shorter one.
	for n, limit := range []time.Duration{2 * time.Hour, time.Hour, time.Minute} {
		d.within(limit, setter)
		d.within(limit-limit/16, setter) // is the same but for a sixteenth too far
		d.within(limit, setter)
		if want := 1 + 2*(n+1); len(set) != want {
			t.Errorf("set %d times, want %d", len(set), want)
		}
	}
	d.within(0, setter)
	d.within(0, setter)
	if last := set[len(set)-1]; len(set) != 8 || !last.IsZero() {
		t.Errorf("set %d times, at last to %v", len(set), last)
	}
	d.within(time.Hour, setter)
	d.forget() // somebody else has set it
	d.within(time.Hour, setter)
	if len(set) != 10 {
		t.Errorf("set %d times", len(set))
	}
}
