package proxy

import (
	"strings"
	"testing"
)

func TestAccessLog_CutsWhatAClientChose(t *testing.T) {
	for _, c := range []struct {
		length, want int
	}{{0, 0}, {256, 256}, {257, 259}, {8000, 259}} {
		if got := logged([]byte(strings.Repeat("x", c.length)), maxLoggedPath); len(got) != c.want || c.length > maxLoggedPath != strings.HasSuffix(got, "...") {
			t.Errorf("%d bytes are logged as %d: %q", c.length, len(got), got)
		}
	}
}
