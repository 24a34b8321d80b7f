package main

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is how late the kernel may end a wait of this process and of its signers
// (PR_SET_TIMERSLACK). Go's monitor thread asks for 20 µs at a time while system calls or
// calls into a library are under way, and would wake some thousands of times a
// second: with the kernel's 50 µs that is an eighth of what a full handshake costs. All
// that is waited for here is counted in seconds.
const timerSlack = time.Millisecond

// takeTime has the process run with that slack. It belongs to threads, which get it from
// the one that starts them, and Go has several by now: so the process starts over from
// one that has it. Where the slack cannot be set, it goes on without.
func takeTime() {
	if slack() >= timerSlack {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0)
	if slack() >= timerSlack { // real-time threads have none
		_ = execute(os.Environ())
	}
}

func slack() time.Duration {
	n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return timerSlack
	}
	return time.Duration(n)
}
