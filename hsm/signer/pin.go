package signer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sallyport/hsm/wire"
)

// A pin is a secret. However it is printed, it does not show.
type pin string

const redacted = "[redacted]"

func (pin) String() string               { return redacted }
func (pin) GoString() string             { return redacted }
func (pin) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (pin) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (pin) Format(s fmt.State, _ rune)   { _, _ = io.WriteString(s, redacted) }

const maxPIN = 1024

// readPIN reads the PIN that source names: "file:PATH", "credential:NAME" for a
// file in systemd's $CREDENTIALS_DIRECTORY (systemd.exec(5)), or "env:NAME" for
// what was in a variable of the serving process's environment. One line end
// behind the PIN is cut off. It is empty for wire.NoPIN, and for nothing else.
//
// A file that other users may read or write is refused: whoever reads it can
// use every key of the token.
func readPIN(source string) (pin, error) {
	kind, name, _ := strings.Cut(source, ":")
	switch kind {
	case wire.NoPIN:
		return "", nil
	case "file":
		return readPINFile(name)
	case "credential":
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", pinSetup("$CREDENTIALS_DIRECTORY is not set, so there is no credential %q", name).
				hint("systemd sets it in a service with LoadCredential=%s:…; by hand, it is the folder of a file %s", name, name)
		}
		if name != filepath.Base(name) {
			return "", pinSetup("credential %q is not a plain name", name)
		}
		return readPINFile(filepath.Join(dir, name))
	case "env":
		return readSealedPIN(name)
	}
	return "", pinSetup("the PIN's source must begin with file:, credential: or env:, or be none")
}

func readPINFile(path string) (pin, error) {
	// Without O_NONBLOCK a FIFO in the file's place would block for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		e := pinSetup("PIN file: %v", err)
		if errors.Is(err, fs.ErrPermission) {
			return "", e.hint("the user that runs sallyport must be able to read it")
		}
		return "", e
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", pinSetup("PIN file: %v", err)
	}
	if !info.Mode().IsRegular() {
		return "", pinSetup("PIN file %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return "", pinSetup("PIN file %s is open to every user (mode %04o)", path, mode).hint("chmod o= %s", path)
	}
	return pinFrom(f, "PIN file "+path)
}

// readSealedPIN reads the PIN that was in a variable of the environment: the
// serving process was started over without it, and with a memory file that nobody
// can change any more in its place (cmd/sallyport/launch.go). Other processes of
// this token read the same open file, so no offset is moved.
func readSealedPIN(variable string) (pin, error) {
	const sealed = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	// No other kind of file has seals: what else descriptor 4 may be is not taken for it.
	if has, err := unix.FcntlInt(PINFD, unix.F_GET_SEALS, 0); err != nil || has&sealed != sealed {
		return "", pinSetup("the variable %s was not set when sallyport was started", variable).
			hint("set it in the environment of sallyport itself, by EnvironmentFile= in a systemd unit for example")
	}
	f := os.NewFile(PINFD, variable)
	defer f.Close()
	return pinFrom(io.NewSectionReader(f, 0, maxPIN+1), "the variable "+variable)
}

// pinFrom reads a PIN from what is called so in errors.
func pinFrom(r io.Reader, name string) (pin, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPIN+1))
	if err != nil {
		return "", pinSetup("%s: %v", name, err)
	}
	p := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case len(b) > maxPIN:
		return "", pinSetup("%s is longer than %d bytes, so it holds something else", name, maxPIN)
	case p == "":
		return "", pinSetup("%s is empty", name)
	// An editor's mark would be taken for a part of the PIN, and cost a try.
	case strings.HasPrefix(p, "\uFEFF"), strings.HasPrefix(p, "\xff\xfe"), strings.HasPrefix(p, "\xfe\xff"):
		return "", pinSetup("%s begins with a byte order mark, which is no part of a PIN", name).
			hint("write it without one: printf %%s THE-PIN >FILE does, and a leading blank keeps it out of many shells' history")
	case strings.ContainsAny(p, "\n\x00"):
		return "", pinSetup("%s has more than one line", name)
	}
	return pin(p), nil
}

func pinSetup(format string, args ...any) *failure { return setup(format, args...).of("pin") }

// setup is a failure of what was configured.
func setup(format string, args ...any) *failure {
	return &failure{wire.Failure{Class: wire.Setup, Cause: fmt.Sprintf(format, args...)}}
}
