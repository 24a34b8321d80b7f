package message

import (
	"strings"
	"testing"
)

func TestIDOf_KnowsEachNameInAnyCase(t *testing.T) {
	for id := Other + 1; id < fieldIDs; id++ {
		name := names[id]
		if name == "" {
			t.Fatalf("field %d has no name", id)
		}
		for _, spelling := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := IDOf([]byte(spelling)); got != id {
				t.Errorf("%q is %d, want %d", spelling, got, id)
			}
		}
	}
	for _, name := range []string{"", "x", "hos", "hosts", "content_length", "h\xcfst", strings.Repeat("x", 300)} {
		if got := IDOf([]byte(name)); got != Other {
			t.Errorf("%q is %q", name, names[got])
		}
	}
}

func TestTokenIn(t *testing.T) {
	for list, want := range map[string]bool{
		"close": true, "Close": true, "keep-alive, CLOSE": true, "\tclose ,": true,
		"": false, "closed": false, "clos": false, "keep-alive": false, "close keep-alive": false,
	} {
		if got := TokenIn([]byte(list), "close"); got != want {
			t.Errorf("%q: %v", list, got)
		}
	}
}
