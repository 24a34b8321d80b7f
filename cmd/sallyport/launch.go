package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sallyport/configs"
)

// loadConfig reads a configuration, for a command that opens its tokens. When a
// PIN is in a variable of the environment, the process starts over without it
// before loadConfig returns.
func loadConfig(file string) (*configs.Config, error) {
	if err := refuseTracing(); err != nil {
		return nil, err
	}
	config, err := configs.Load(file)
	if err != nil {
		return nil, err
	}
	var sources []configs.PINSource
	for _, t := range config.HSM.Tokens {
		sources = append(sources, t.PIN)
	}
	if i, err := hidePINs(sources...); err != nil {
		at := fmt.Sprintf("hsm.tokens[%d].pin", i)
		return nil, &configs.Problems{File: file, List: []configs.Problem{{Path: at, Message: err.Error(), Hint: hintOf(err)}}}
	}
	return config, nil
}

// hidePINs takes the PINs that sources have in the environment out of this
// process. A variable cannot be unset for good: what a process was started with
// stays in its memory and in /proc/PID/environ. So each goes into a sealed memory
// file, and the process executes itself anew, as the same process to whoever
// started it, with these files and without the variables. The new one never
// reads them: it hands each to the signer processes of its tokens (sealedPIN).
//
// It returns when there is nothing to hide, which is so in the new process, or
// with an error and the index of the source that is to blame.
func hidePINs(sources ...configs.PINSource) (int, error) {
	environment, blame := os.Environ(), -1
	for i, s := range sources {
		named := func(entry string) bool { return strings.HasPrefix(entry, s.Reference+"=") }
		if s.Kind != configs.PINEnv || !slices.ContainsFunc(environment, named) {
			continue // another token's PIN is the same, or it is missing, which the signer reports
		}
		if err := seal(s.Reference, os.Getenv(s.Reference)); err != nil {
			return i, err
		}
		environment, blame = slices.DeleteFunc(environment, named), i
	}
	if blame < 0 {
		return 0, nil
	}
	return blame, startOver(environment)
}

// refuseTracing keeps what this process knows, session keys and the way to PINs among
// it, out of core dumps and out of reach of ptrace, /proc/PID/mem and /proc/PID/fd for
// other processes of the same user (PR_SET_DUMPABLE, prctl(2)). Root still has it all. A
// program begins without that bar, so there is a moment at each start, and after
// startOver, before it is set.
func refuseTracing() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switch off core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("refuse to be traced: %w", err)
	}
	return nil
}

// startOver executes this program anew. The bar to tracing goes with the old one.
func startOver(environment []string) error {
	if err := refuseTracing(); err != nil {
		return err
	}
	return hint(fmt.Errorf("start over without the PIN in the environment: %w", execute(environment)), "file: and credential: need no such start")
}

// execute executes this program in the process's place, and returns if that fails.
func execute(environment []string) error {
	// By its path ps shows its name, and not "exe"; but that may be gone.
	path, err := os.Executable()
	if err == nil {
		err = syscall.Exec(path, os.Args, environment)
	}
	if err != nil {
		err = syscall.Exec("/proc/self/exe", os.Args, environment)
	}
	return err
}

const (
	// sealedPrefix begins the names of the memory files that hold PINs; the
	// variable's name follows. The names are what is handed on: no variable tells
	// of them.
	sealedPrefix = "sallyport-pin:"

	// seals make a memory file one that nobody can change any more.
	seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
)

// seal puts a PIN into a sealed memory file, which the next program of this
// process inherits.
func seal(variable, value string) error {
	fd, err := memoryFile(sealedPrefix + variable)
	if err != nil {
		return hint(fmt.Errorf("env: needs memory files that can be sealed: %w", err),
			"memfd_create(2) is in Linux 3.17 and later, and may be forbidden by a filter of system calls; file: and credential: do without")
	}
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return fmt.Errorf("write to a memory file: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal a memory file: %w", err)
	}
	return nil
}

// memoryFile makes a file that is not closed on execve. MFD_NOEXEC_SEAL is for
// systems that want it (vm.memfd_noexec); older ones do not know it.
func memoryFile(name string) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, unix.MFD_ALLOW_SEALING)
	}
	return fd, os.NewSyscallError("memfd_create", err)
}

// sealedPIN returns the memory file that holds the PIN of a source, for a signer
// process to read. It is nil for other kinds of sources, and where the variable
// was not set.
func sealedPIN(s configs.PINSource) *os.File {
	if s.Kind != configs.PINEnv {
		return nil
	}
	const descriptors = "/proc/self/fd"
	entries, err := os.ReadDir(descriptors)
	if err != nil {
		return nil
	}
	name := "/memfd:" + sealedPrefix + s.Reference
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		link, linkErr := os.Readlink(filepath.Join(descriptors, e.Name()))
		if err != nil || linkErr != nil || strings.TrimSuffix(link, " (deleted)") != name {
			continue
		}
		// Several tokens may have it, and each closes its own.
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil
		}
		unix.CloseOnExec(fd)
		return os.NewFile(uintptr(own), name)
	}
	return nil
}
