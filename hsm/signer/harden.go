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
	if err := giveUpPrivileges(); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switch off core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("refuse to be traced: %w", err)
	}
	return nil
}

// giveUpPrivileges gives up the capabilities that a service was given, such as
// CAP_NET_BIND_SERVICE, and any way to new ones (PR_SET_NO_NEW_PRIVS). Both
// belong to threads, and Go has several by now, so the process is started over
// from a thread that has given them up: what that one lacks no thread of the new
// image has (capabilities(7), execve(2)).
func giveUpPrivileges() error {
	if none, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || none == 1 && !hasAmbient() {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

func hasAmbient() bool {
	for c := range unix.CAP_LAST_CAP + 1 {
		if on, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, uintptr(c), 0, 0); err == nil && on == 1 {
			return true
		}
	}
	return false
}
