package main

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	for name, c := range map[string]struct {
		stat        string
		pid, parent int
		fails       bool
	}{
		"usual":                {stat: "12 (nginx) S 7 12 12 0 -1", pid: 12, parent: 7},
		"a name with a blank":  {stat: "12 (a b) S 7 12", pid: 12, parent: 7},
		"a name like an end":   {stat: "12 (x) S 99 (y)) R 7 12", pid: 12, parent: 7},
		"no name":              {stat: "12 nginx S 7", fails: true},
		"nothing after a name": {stat: "12 (nginx)", fails: true},
		"no number":            {stat: "x (nginx) S 7 12", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			pid, parent, err := parseStat([]byte(c.stat))
			if pid != c.pid && !c.fails || parent != c.parent || (err != nil) != c.fails {
				t.Errorf("got %d, %d, %v", pid, parent, err)
			}
		})
	}
}

func TestParseMemory(t *testing.T) {
	got, err := parseMemory([]byte("Name:\tnginx\nVmRSS:\t  9000 kB\nRssAnon:\t    1000 kB\nRssFile:\t    7000 kB\nRssShmem:\t      24 kB\n"))
	if err != nil || got != 1<<20 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := parseMemory([]byte("Name:\tkthreadd\n")); err == nil {
		t.Error("a process without memory has some")
	}
}

func TestMemory_CountsThisProcess(t *testing.T) {
	if held, err := memory(os.Getpid()); err != nil || held < 1<<20 {
		t.Errorf("got %d bytes, %v", held, err)
	}
}

// The tree has the processes that a server's own processes started.
func TestProcessTree_HasGrandchildren(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sh -c 'echo $$; exec sleep 600' & wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // by the signal
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := processTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{os.Getpid(), cmd.Process.Pid, grandchild} {
		if !slices.Contains(tree, pid) {
			t.Errorf("%v lacks %d", tree, pid)
		}
	}
	if slices.Contains(tree, os.Getppid()) {
		t.Errorf("%v has the parent of its root", tree)
	}
}

// The clock of a process says what the kernel charges it with.
func TestCPUTime_AgreesWithTheKernel(t *testing.T) {
	charged := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	const rounding = 10 * time.Microsecond
	before := charged()
	got, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after := charged(); got < before-rounding || got > after+rounding {
		t.Errorf("%v is not between %v and %v", got, before, after)
	}
}

func TestCPUTimes_OfProcessesThatComeOrGoCannotBeTold(t *testing.T) {
	two := cpuTimes{1: time.Second, 2: time.Second}
	if got, err := (cpuTimes{1: 3 * time.Second, 2: time.Second}).since(two); err != nil || got != 2*time.Second {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := (cpuTimes{1: time.Second}).since(two); err == nil {
		t.Error("a process that went is not noticed")
	}
	if _, err := (cpuTimes{1: time.Second, 2: time.Second, 3: 0}).since(two); err == nil {
		t.Error("a process that came is not noticed")
	}
}
