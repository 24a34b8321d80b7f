package message

import (
	"strings"
	"testing"
)

func TestField_Kinds(t *testing.T) {
	for name, want := range map[string][2]bool{ // end to end, may trail
		"authorization": {true, false}, "x-forwarded-for": {true, false}, "x_forwarded_for": {true, false}, "content-type": {true, false}, "content-digest": {true, true},
		"etag": {true, true}, "grpc-status": {false, true}, "x-hop": {false, true}, "transfer-encoding": {false, false}, "keep-alive": {false, false},
		"if-match": {true, false}, "x-ssl-client-verify": {true, false}, "content-": {false, true}, "x-checksum": {false, true}, "access-control-allow-private-network": {true, false},
		"accept-much-more-than-any-known-name-has": {false, true}, "x": {false, true},
	} {
		for _, spelling := range []string{name, strings.ToUpper(name)} {
			f := Field{Name: []byte(spelling)}
			if got := [2]bool{f.EndToEnd(), f.MayTrail()}; got != want {
				t.Errorf("%s: %v, want %v", spelling, got, want)
			}
		}
	}
}
