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

// readPIN reads the PIN that source names: "file:PATH", or "credential:NAME"
// for a file in systemd's $CREDENTIALS_DIRECTORY (systemd.exec(5)). One line
// end behind the PIN is cut off. It is empty for wire.NoPIN, and for nothing else.
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
				hint("credentials exist only in a systemd service with LoadCredential=%s:…", name)
		}
		if name != filepath.Base(name) {
			return "", pinSetup("credential %q is not a plain name", name)
		}
		return readPINFile(filepath.Join(dir, name))
	}
	return "", pinSetup("the PIN's source must begin with file: or credential:, or be none")
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
	b, err := io.ReadAll(io.LimitReader(f, maxPIN+1))
	if err != nil {
		return "", pinSetup("PIN file %s: %v", path, err)
	}
	p := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case len(b) > maxPIN:
		return "", pinSetup("PIN file %s is longer than %d bytes, so it holds something else", path, maxPIN)
	case p == "":
		return "", pinSetup("PIN file %s is empty", path)
	case strings.ContainsAny(p, "\n\x00"):
		return "", pinSetup("PIN file %s has more than one line", path)
	}
	return pin(p), nil
}

func pinSetup(format string, args ...any) *failure { return setup(format, args...).of("pin") }

// setup is a failure of what was configured.
func setup(format string, args ...any) *failure {
	return &failure{wire.Failure{Class: wire.Setup, Cause: fmt.Sprintf(format, args...)}}
}
