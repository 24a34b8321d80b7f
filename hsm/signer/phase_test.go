package signer

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"sallyport/hsm/wire"
)

// asked are questions in a row, of which the last one ends the process.
func TestRun_EndsAtWhatIsNotPermitted(t *testing.T) {
	nowhere, err := json.Marshal(wire.Settings{Module: "/nowhere.so", Label: "edge", Sessions: 1, PIN: wire.NoPIN})
	if err != nil {
		t.Fatal(err)
	}
	sign, err := wire.SignRequest{Scheme: wire.ECDSA, Hash: 5, Digest: make([]byte, 32)}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := map[wire.Kind][]byte{wire.Open: nowhere, wire.Slots: nowhere, wire.Sign: sign, wire.List: []byte("{}")}
	for name, asked := range map[string][]wire.Kind{
		"to sign before the token is open":    {wire.Sign},
		"to list before the token is open":    {wire.List},
		"to examine before the token is open": {wire.Examine},
		"for secrets before it is open":       {wire.Secrets},
		"a second module by slots":            {wire.Slots, wire.Slots},
		"to open after slots":                 {wire.Slots, wire.Open},
		"a second module by open":             {wire.Open, wire.Open},
		"slots after open":                    {wire.Open, wire.Slots},
		"to sign after a failed open":         {wire.Open, wire.Sign},
		"an answer":                           {wire.Done},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			ended := make(chan error, 1)
			go func() { ended <- Run(far); far.Close() }()
			out, in := wire.NewWriter(near), wire.NewReader(near)
			for i, kind := range asked {
				if err := out.Write(wire.Frame{Kind: kind, Number: uint64(i), Payload: payload[kind]}); err != nil {
					t.Fatal(err)
				}
				if i == len(asked)-1 {
					break
				}
				if f, err := in.Read(); err != nil || f.Kind != wire.Failed {
					t.Fatalf("%s: got %v, %v", kind, f.Kind, err)
				}
			}
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "is not permitted now") {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func TestPermitted_OnlyDoctorExamines(t *testing.T) {
	s := new(signer)
	s.opened(wire.Settings{}, nil)
	for kind, want := range map[wire.Kind]bool{
		wire.Sign: true, wire.List: true, wire.Examine: false, wire.Secrets: false, wire.Open: false, wire.Slots: false,
	} {
		if err := s.permit(kind); (err == nil) != want {
			t.Errorf("serving: %s: %v", kind, err)
		}
	}
	s.opened(wire.Settings{Examining: true}, nil)
	for kind, want := range map[wire.Kind]bool{
		wire.Sign: true, wire.List: true, wire.Examine: true, wire.Secrets: true, wire.Open: false, wire.Slots: false,
	} {
		if err := s.permit(kind); (err == nil) != want {
			t.Errorf("examining: %s: %v", kind, err)
		}
	}
}
