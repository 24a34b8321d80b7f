package main

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

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

// Before anything is read that leads to a PIN, nobody but root can look into the
// process any more, and it leaves no core dump.
func TestCommands_CannotBeTraced(t *testing.T) {
	for name, start := range map[string]func(file string) error{
		"serve": func(file string) error { return serve(t.Context(), file, io.Discard, io.Discard) },
		"a command that opens tokens": func(file string) error {
			_, err := loadConfig(file)
			return err
		},
		"token list --module": func(string) error {
			_, err := tokenListFlags{module: "/nowhere.so", label: "edge", pin: "nonsense"}.tokens()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) })
			if err := start("/nowhere/sallyport.yaml"); err == nil {
				t.Fatal("it started")
			}
			if on, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || on != 0 {
				t.Errorf("dumpable: %d, %v", on, err)
			}
			var core unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core.Max != 0 {
				t.Errorf("core dumps of %d bytes, %v", core.Max, err)
			}
		})
	}
}
