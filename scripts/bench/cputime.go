package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTimes are what each process of a server has used of the CPU, by process ID.
type cpuTimes map[int]time.Duration

func readCPUTimes(root int) (cpuTimes, error) {
	pids, err := processTree(root)
	if err != nil {
		return nil, err
	}
	times := make(cpuTimes)
	for _, pid := range pids {
		if times[pid], err = cpuTime(pid); err != nil {
			return nil, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
	}
	return times, nil
}

// cpuTime is a process's user and system time, of all its threads, also those
// that have ended. It is the sum of the fields utime and stime in /proc/PID/stat,
// from the clock of the process (clock_getcpuclockid(3)), since these fields
// count in ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	const scheduler = 2 // CPUCLOCK_SCHED: time on the CPU
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduler, &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}

// since is the time used after earlier. What a process did that has begun or
// ended in between cannot be told: that is an error.
func (c cpuTimes) since(earlier cpuTimes) (time.Duration, error) {
	var sum time.Duration
	for pid, t := range c {
		before, ok := earlier[pid]
		if !ok {
			return 0, fmt.Errorf("the server started process %d meanwhile", pid)
		}
		sum += t - before
	}
	for pid := range earlier {
		if _, ok := c[pid]; !ok {
			return 0, fmt.Errorf("the server's process %d ended meanwhile", pid)
		}
	}
	return sum, nil
}
