package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what fits into a sockaddr_un (unix(7)), less its final zero.
const maxSocketPath = 107

// A Socket is a Unix socket for root and the service's own user. Others are
// kept out by its mode, and if that is changed, by who they are.
type Socket struct {
	*net.UnixListener
	log *slog.Logger
}

// ListenSocket opens the socket at path, with mode 0600. A socket that a dead
// process has left there is replaced; one that somebody listens on is an error
// that is a syscall.EADDRINUSE. Close removes the file.
func ListenSocket(path string, log *slog.Logger) (*Socket, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s is longer than the %d bytes that the path of a socket can have", path, maxSocketPath)
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	// bind(2) gives the file the mode of the socket, so it never has another one.
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if control := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); control != nil {
			return control
		}
		return err
	}}
	l, err := c.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return &Socket{l.(*net.UnixListener), log}, nil
}

// clearStale removes a socket that nobody listens on.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		// Also where it could not be asked: a process that is stopped, say.
		return fmt.Errorf("%s is in use by another process: %w", path, syscall.EADDRINUSE)
	}
	return os.Remove(path)
}

// Accept returns the next connection of a peer that may ask. Others are closed.
func (s *Socket) Accept() (net.Conn, error) {
	for {
		conn, err := s.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peer(conn)
		if err == nil && mayAsk(uid, os.Geteuid()) {
			return conn, nil
		}
		s.log.Warn("refused at the admin socket", "uid", uid, "error", err)
		conn.Close()
	}
}

// mayAsk says whether a user may ask a service that runs as self.
func mayAsk(uid uint32, self int) bool { return uid == 0 || int64(uid) == int64(self) }

// peer is the user of the other end (SO_PEERCRED in unix(7)).
func peer(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if control := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); control != nil {
		return 0, control
	}
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
