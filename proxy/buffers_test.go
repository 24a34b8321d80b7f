package proxy

import "testing"

func TestFreight_IsAsLargeAsWhatItCarries(t *testing.T) {
	var f freight
	defer f.free()
	for i, step := range []struct{ carried, want int }{
		{10, 2 << 10},
		{2 << 10, 8 << 10},
		{8 << 10, 32 << 10},
		{32 << 10, 64 << 10},
		{64 << 10, 64 << 10},
		{6 << 10, 64 << 10}, // the rest of a buffer, say
		{40 << 10, 64 << 10},
		{6 << 10, 64 << 10},
		{6 << 10, 32 << 10},
		{3 << 10, 32 << 10},
		{3 << 10, 8 << 10},
		{100, 2 << 10},
		{100, 2 << 10},
	} {
		if f.carried(step.carried); len(f.room()) != step.want {
			t.Errorf("step %d: room for %d after %d bytes, want %d", i, len(f.room()), step.carried, step.want)
		}
	}
}

func TestFreight_KeepsWhatIsThereWhenItGrows(t *testing.T) {
	var f freight
	defer f.free()
	copy(f.room(), "some")
	f.grow()
	if string(f.room()[:4]) != "some" || len(f.room()) <= 2<<10 {
		t.Errorf("%q in %d bytes", f.room()[:4], len(f.room()))
	}
	if f.fit(100); len(f.room()) != 2<<10 {
		t.Errorf("%d bytes for 100", len(f.room()))
	}
}
