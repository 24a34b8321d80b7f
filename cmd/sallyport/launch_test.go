package main

import (
	"io"
	"os"
	"testing"

	"sallyport/configs"
)

func TestSealedPIN_IsHandedOutOftenAndChangedByNobody(t *testing.T) {
	const variable = "LAUNCH_TEST_PIN"
	source := configs.PINSource{Kind: configs.PINEnv, Reference: variable}
	if f := sealedPIN(source); f != nil {
		t.Fatal("there is one before it was made")
	}
	if err := seal(variable, "83736251"); err != nil {
		t.Fatal(err)
	}
	var all []*os.File
	for range 2 { // two tokens with the same PIN
		f := sealedPIN(source)
		if f == nil {
			t.Fatal("it is not found")
		}
		defer f.Close()
		all = append(all, f)
	}
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(all[1], 0, 100))
	if err != nil || string(got) != "83736251" {
		t.Errorf("it holds %d bytes, %v", len(got), err)
	}
	if _, err := all[1].WriteAt([]byte("1"), 0); err == nil {
		t.Error("it can be written to")
	}
	if err := all[1].Truncate(0); err == nil {
		t.Error("it can be cut")
	}
	for _, other := range []configs.PINSource{
		{Kind: configs.PINEnv, Reference: variable + "_2"},
		{Kind: configs.PINEnv, Reference: "LAUNCH_TEST"},
		{Kind: configs.PINFile, Reference: variable},
		{Kind: configs.PINNone},
	} {
		if f := sealedPIN(other); f != nil {
			t.Errorf("it is found as %s", other)
		}
	}
}
