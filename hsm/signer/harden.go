package signer

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// harden keeps what this process will know out of core dumps and out of reach
// of ptrace and /proc/PID/mem by other processes of the same user
// (PR_SET_DUMPABLE, prctl(2)), and gives up any way to gain privileges.
func harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switch off core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("refuse to be traced: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	return nil
}
