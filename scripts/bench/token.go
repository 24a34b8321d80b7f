package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"sallyport/hsm/hsmtest"
)

// token is a SoftHSM token called "edge" that holds all pairs.
type token struct {
	Module    string            // the PKCS#11 library
	Variables map[string]string // what that needs in its environment
	PIN       string            // good for nothing but this token, which is gone after the run
	PINFile   string
	Pairs     []pair
	slow      bool
}

// signLatency is how long the slow token takes for a signature.
const signLatency = 5 * time.Millisecond

func newToken(dir string) (*token, error) {
	module, err := hsmtest.SoftHSMLibrary()
	if err != nil {
		return nil, err
	}
	t := &token{
		Module:    module,
		Variables: map[string]string{"SOFTHSM2_CONF": filepath.Join(dir, "softhsm2.conf")},
		PIN:       "123456",
		PINFile:   filepath.Join(dir, "edge.pin"),
	}
	objects := filepath.Join(dir, "tokens")
	if err := os.MkdirAll(objects, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(t.PINFile, []byte(t.PIN+"\n"), 0o600); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", objects)
	if err := os.WriteFile(t.Variables["SOFTHSM2_CONF"], []byte(config), 0o600); err != nil {
		return nil, err
	}
	if t.Pairs, err = makePairs(dir); err != nil {
		return nil, err
	}
	return t, t.fill()
}

// fill makes the token and puts the keys into it.
func (t *token) fill() error {
	if err := t.tool("--init-token", "--free", "--label", "edge", "--pin", t.PIN, "--so-pin", t.PIN); err != nil {
		return err
	}
	for _, p := range t.Pairs {
		if err := t.tool("--import", p.Key, "--token", "edge", "--label", p.Label, "--id", p.ID, "--pin", t.PIN); err != nil {
			return err
		}
	}
	return nil
}

func (t *token) tool(args ...string) error {
	cmd := exec.Command("softhsm2-util", args...)
	cmd.Env = append(os.Environ(), t.environment()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("softhsm2-util %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// slowed is the same token behind a module that makes each signature take its time.
func (t *token) slowed(dir string) (*token, error) {
	library, err := hsmtest.BuildFaulty()
	if err != nil {
		return nil, err
	}
	s := *t
	s.slow = true
	s.Module = filepath.Join(dir, "slow.so")
	s.Variables = maps.Clone(t.Variables)
	s.Variables["FAULTY_MODULE"] = t.Module
	s.Variables["FAULTY_CONTROL"] = filepath.Join(dir, "slow.control")
	if err := os.WriteFile(s.Module, library, 0o700); err != nil {
		return nil, err
	}
	control := "latency.C_Sign=" + strconv.FormatInt(signLatency.Microseconds(), 10) + "us\n"
	return &s, os.WriteFile(s.Variables["FAULTY_CONTROL"], []byte(control), 0o600)
}

// environment is Variables as NAME=VALUE.
func (t *token) environment() []string {
	var e []string
	for _, name := range slices.Sorted(maps.Keys(t.Variables)) {
		e = append(e, name+"="+t.Variables[name])
	}
	return e
}

func (t *token) pair(label string) pair {
	return t.Pairs[slices.IndexFunc(t.Pairs, func(p pair) bool { return p.Label == label })]
}
