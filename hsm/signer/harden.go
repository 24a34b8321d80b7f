package signer

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// harden keeps what this process will know out of core dumps and out of reach
// of ptrace and /proc/PID/mem by other processes of the same user
// (PR_SET_DUMPABLE, prctl(2)), and gives up any way to gain privileges.
func harden() error {
	if err := dropAmbient(); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
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

// dropAmbient gives up the capabilities that a service was given, such as
// CAP_NET_BIND_SERVICE. They belong to threads, and Go has several by now, so
// the process is started over from a thread that has cleared its ambient set:
// what is not ambient does not outlast execve (capabilities(7)).
func dropAmbient() error {
	given := false
	for c := range unix.CAP_LAST_CAP + 1 {
		if on, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, uintptr(c), 0, 0); err == nil && on == 1 {
			given = true
		}
	}
	if !given {
		return nil
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}
