package memory

import (
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// share is the part of the memory that the process may have which a budget is by default.
// What is not collected yet may be as much as is in use, and the kernel has buffers.
const share = 3

// Default is a third of what the process may have.
func Default() int64 { return available("/") / share }

// available is the least of what bounds the process's memory: the machine's, the limits of its
// control groups, its resource limits, and Go's own limit (GOMEMLIMIT). root is where
// the files of the kernel's are.
func available(root string) int64 {
	least := int64(math.MaxInt64)
	bound := func(n uint64) {
		if n > 0 && n < uint64(least) {
			least = int64(n)
		}
	}
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		bound(uint64(info.Totalram) * uint64(info.Unit))
	}
	for _, resource := range []int{syscall.RLIMIT_AS, syscall.RLIMIT_DATA} {
		var limit syscall.Rlimit
		if syscall.Getrlimit(resource, &limit) == nil {
			bound(limit.Cur)
		}
	}
	bound(uint64(debug.SetMemoryLimit(-1)))
	for _, file := range groupLimits(root) {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil { // not "max"
			bound(n)
		}
	}
	return least
}

// groupLimits are the files that hold the limits of the process's control groups, and of
// those that these are in (cgroups(7)). Within a container the path may be the host's, which is
// why the top is looked at, too.
func groupLimits(root string) (files []string) {
	groups, _ := os.ReadFile(path.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		var top, name string
		switch {
		case parts[0] == "0" && parts[1] == "":
			top, name = "sys/fs/cgroup", "memory.max"
		case strings.Contains(","+parts[1]+",", ",memory,"):
			top, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := path.Join("/", parts[2]); ; dir = path.Dir(dir) {
			files = append(files, path.Join(root, top, dir, name))
			if dir == "/" {
				break
			}
		}
	}
	return files
}
