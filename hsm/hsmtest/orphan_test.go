package hsmtest_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
	"sallyport/hsm/wire"
)

// orphanMaker is this test binary as a serving process that is killed: it opens
// a token and signs until that happens.
const orphanMaker = "orphan-maker"

func makeOrphan(module, pinFile string) {
	environment := make(map[string]string) // all that this process has, and so the token's
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		environment[name] = value
	}
	token := hsm.NewToken(hsm.Config{
		Name:        "edge",
		Settings:    wire.Settings{Module: module, Label: "edge", PIN: "file:" + pinFile, Sessions: 2},
		Environment: environment,
		SignTimeout: time.Hour, OpenTimeout: time.Hour, // whatever hangs goes on hanging
	}, slog.New(slog.DiscardHandler), hsm.NewMetrics(prometheus.NewRegistry()))
	ctx := context.Background()
	go token.Run(ctx)
	if token.Ready(ctx) != nil {
		return
	}
	u, err := hsm.ParseURI("pkcs11:object=ec")
	if err != nil {
		return
	}
	keys, _, err := hsm.FindKeys([]*hsm.Token{token}, u)
	if err != nil {
		return
	}
	_ = sign(keys[0]) // hangs
}

// A serving process that is killed takes its signer process along, also one that
// hangs inside the library: the child reads its end of the socketpair whatever
// the library does.
func TestFaulty_AHungProcessEndsWithTheServingProcess(t *testing.T) {
	s := hsmtest.New(t)
	for _, function := range []string{"C_Initialize", "C_Login", "C_Sign"} {
		t.Run(function, func(t *testing.T) {
			f := hsmtest.NewFaulty(t, s)
			f.HangForGood(function, 8)
			cmd := exec.Command("/proc/self/exe", orphanMaker, f.Module, s.PINFile)
			cmd.Env = os.Environ()
			for name, value := range f.Environment {
				cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%s", name, value))
			}
			cmd.Dir = s.Dir
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			f.Await(function, func(c hsmtest.Calls) bool { return c.Hung > 0 })
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Errorf("the serving process ended otherwise: %v", err)
			}
			f.Await("*", func(hsmtest.Calls) bool { return len(f.Processes()) == 0 })
		})
	}
}
