package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// processTree lists a process and all that come from it.
func processTree(root int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		pid, parent, err := parseStat(stat)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		children[parent] = append(children[parent], pid)
	}
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree, nil
}

// parseStat reads process and parent from /proc/PID/stat (proc(5)). The name
// between them is in parentheses and may hold some, and blanks, itself.
func parseStat(stat []byte) (pid, parent int, err error) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return 0, 0, fmt.Errorf("no name in %q", stat)
	}
	rest := strings.Fields(string(stat[end+1:]))
	if len(rest) < 2 {
		return 0, 0, fmt.Errorf("too few fields in %q", stat)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(stat[:open]))); err != nil {
		return 0, 0, err
	}
	parent, err = strconv.Atoi(rest[1])
	return pid, parent, err
}

// memory is what a process and all that come from it hold, in bytes.
func memory(root int) (int64, error) {
	pids, err := processTree(root)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		held, err := parseMemory(status)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/status: %w", pid, err)
		}
		sum += held
	}
	return sum, nil
}

// parseMemory adds up the memory in /proc/PID/status that holds no file: pages
// of the program itself come and go without a connection having to do with it.
// Unlike smaps_rollup, any user may read this of a process that guards itself.
func parseMemory(status []byte) (int64, error) {
	var sum int64
	found := 0
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "RssAnon" && name != "RssShmem" {
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += kilobytes << 10
		found++
	}
	if found != 2 {
		return 0, errors.New("it lacks RssAnon or RssShmem")
	}
	return sum, nil
}
