package http1

import (
	"bytes"
	"testing"
)

// The fast way to look at a value sees what the slow one sees, wherever it is.
func TestIsValue_SeesEachOctetInEachPlace(t *testing.T) {
	for c := range 256 {
		for n := 1; n < 20; n++ {
			for at := range n {
				for _, filling := range []byte{'a', ' ', '\t', 0x80, 0xff} {
					b := bytes.Repeat([]byte{filling}, n)
					b[at] = byte(c)
					if want := c >= ' ' && c != 0x7f || c == '\t'; isValue(b) != want {
						t.Fatalf("%q: %v", b, !want)
					}
				}
			}
		}
	}
}

func TestValidHost(t *testing.T) {
	for host, want := range map[string]bool{
		"a": true, "a.b-c_d": true, "a:1": true, "a:65535": true, "192.0.2.1": true, "[::]": true, "[::ffff:192.0.2.1]:1": true,
		"": false, ":": false, "a:": false, "a:0x1": false, "a:99999": false, "a b": false, "a/": false, "a@b": false, "a,b": false,
		"[::1": false, "::1]": false, "[1]": false, "[::1]:": false, "[::1]1": false, "[::g]": false, "a%41": false, "a\x00": false,
	} {
		if validHost([]byte(host)) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
