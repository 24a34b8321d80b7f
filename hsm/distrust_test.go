package hsm

import (
	"testing"
	"time"

	"sallyport/hsm/wire"
)

func TestDistrust_GrowsWithEachWrongSignature(t *testing.T) {
	var d distrust
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if d.doubted(now) != nil || d.left(now) > 0 {
		t.Error("it begins with distrust")
	}
	d.note(wire.SignRequest{}, now)
	d.note(wire.SignRequest{}, now.Add(time.Second)) // under way at the same time
	if left := d.left(now); left != distrustLeast {
		t.Errorf("left alone for %s at first", left)
	}
	pause := distrustLeast
	for range 10 {
		now = now.Add(pause)
		if d.left(now) > 0 {
			t.Fatalf("still left alone after %s", pause)
		}
		d.note(wire.SignRequest{}, now)
		pause = min(2*pause, distrustMost)
		if left := d.left(now); left != pause {
			t.Errorf("left alone for %s, want %s", left, pause)
		}
	}
	if d.doubted(now.Add(distrustFor)) == nil {
		t.Error("it is trusted too soon")
	}
	now = now.Add(distrustFor + 1)
	if d.doubted(now) != nil {
		t.Error("it is never trusted again")
	}
	d.note(wire.SignRequest{}, now)
	if left := d.left(now); left != distrustLeast {
		t.Errorf("after a good time it is left alone for %s", left)
	}
}
