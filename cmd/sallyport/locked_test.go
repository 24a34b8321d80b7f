package main

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// unlock is what an operator does once the PIN has been mended.
func (r *rig) unlock() error {
	var said bytes.Buffer
	if code := run([]string{"token", "unlock", "edge", "--config", r.config}, &said, &said); code != 0 {
		return fmt.Errorf("exit code %d: %s", code, &said)
	}
	return nil
}

// The PIN of a token is changed, and its process ends under traffic: the new one
// tries the PIN that it finds once, and no other does until the operator says so.
func TestFaults_WrongPINAfterARestart(t *testing.T) {
	t.Parallel()
	for _, s := range []setup{
		{name: "one token", processes: 2},
		{name: "two tokens", processes: 2, spare: true},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, s, "1s")
			r.until("the service is whole", r.whole)
			right, err := os.ReadFile(r.pinFile)
			if err != nil {
				t.Fatal(err)
			}
			logins := r.faulty.Stats()["C_Login"].Made
			if err := os.WriteFile(r.pinFile, []byte("77778888"), 0o600); err != nil {
				t.Fatal(err)
			}

			// One of two processes: the other one goes on, since it is logged in.
			counts := r.load.turn()
			r.kill(1, syscall.SIGKILL)
			r.until("the PIN is refused", func() bool { return r.faulty.Stats()["C_Login"].Made > logins })
			r.each(counts["full"].good.Load()+10, counts)
			r.until("one process is left", func() bool { return len(r.faulty.Processes()) == 1 })
			r.kill(1, syscall.SIGKILL)
			r.until("the token is locked", func() bool { state, _ := r.state(); return state == "locked" })

			locked := r.load.turn()
			if s.spare {
				r.each(20, locked)
			} else {
				r.until("handshakes fail", func() bool { return locked["full"].bad.Load() >= 20 })
			}
			if n := r.faulty.Stats()["C_Login"].Made - logins; n != 1 {
				t.Errorf("the PIN was tried %d times", n)
			}
			if err := os.WriteFile(r.pinFile, right, 0o600); err != nil {
				t.Fatal(err)
			}
			r.load.turn()
			if err := r.unlock(); err != nil {
				t.Fatal(err)
			}
			unlocked := time.Now()
			r.until("the service is whole", r.whole)
			back := r.load.turn()
			r.each(20, back)
			r.load.stop()

			t.Logf("back %s after it was unlocked", time.Since(unlocked).Round(time.Millisecond))
			if n := r.faulty.Stats()["C_Login"].Made - logins; n != 3 {
				t.Errorf("%d logins, want the one that was refused and one of each process", n)
			}
			for name, counts := range map[string]tallies{"until it is locked": counts, "locked": locked, "afterwards": back} {
				for way, t := range counts {
					if t.bad.Load() > 0 && (way != "full" || s.spare || name == "afterwards") {
						r.t.Errorf("%s, %d requests of the way %q were lost, the last by %v", name, t.bad.Load(), way, t.why())
					}
					for reason := range t.reasons {
						if reason != "remote error: tls: internal error" {
							r.t.Errorf("%s, a handshake failed with %q, want an alert", name, reason)
						}
					}
				}
			}
		})
	}
}
