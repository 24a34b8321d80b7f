package main

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// serverCPUs are the CPUs for the server under test, in taskset's words: as
// many as it has threads, the first that this process may use.
func serverCPUs() string {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return "0"
	}
	var names []string
	for cpu := 0; len(names) < min(serverThreads, set.Count()); cpu++ {
		if set.IsSet(cpu) {
			names = append(names, strconv.Itoa(cpu))
		}
	}
	return strings.Join(names, ",")
}
