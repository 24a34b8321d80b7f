package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what the figures were taken on.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	System string `json:"system"`
	Load   string `json:"load"` // averages before the run
}

// version is what a program says it is.
type version struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

func thisMachine() machine {
	var u unix.Utsname
	_ = unix.Uname(&u) // cannot fail with a valid address
	load, _, _ := strings.Cut(firstLine("/proc/loadavg", ""), " 0/")
	if fields := strings.Fields(load); len(fields) >= 3 {
		load = strings.Join(fields[:3], " ")
	}
	return machine{
		CPU:    firstLine("/proc/cpuinfo", "model name"),
		Cores:  runtime.NumCPU(),
		Kernel: unix.ByteSliceToString(u.Release[:]),
		System: strings.Trim(firstLine("/etc/os-release", "PRETTY_NAME"), `"`),
		Load:   load,
	}
}

// firstLine is what stands behind a name in the first line that has it.
func firstLine(path, name string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			return strings.TrimLeft(rest, " \t:=")
		}
	}
	return "unknown"
}

// versionsOf asks the programs themselves.
func versionsOf(all []server) []version {
	var v []version
	for _, s := range all {
		v = append(v, version{s.name, ask(s.version...)})
	}
	if commit, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		v = append(v, version{"this repository", strings.TrimSpace(string(commit))})
	}
	return append(v,
		version{"Go", runtime.Version()},
		version{"OpenSSL", ask("openssl", "version")},
		version{"SoftHSM", ask("softhsm2-util", "--version")},
		version{"wrk", ask("wrk", "-v")},
		version{"h2load", ask("h2load", "--version")},
	)
}

var versionNumber = regexp.MustCompile(`\d+\.\d+[0-9A-Za-z.+~-]*`)

// ask takes the number from the first line of what a program prints, or else the
// line, up to what it has to add in parentheses. Some exit with an error after it.
func ask(args ...string) string {
	out, _ := exec.Command(args[0], args[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	line, _, _ = strings.Cut(line, " (")
	line = strings.TrimPrefix(line, args[0]+" ")
	if number := versionNumber.FindString(line); number != "" {
		return number
	}
	return line
}
