package hsmtest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// NewRemote makes a SoftHSM token that is reached over a socket, by a p11-kit
// server of its own (Server) and p11-kit's client module.
func NewRemote(t testing.TB) *Token {
	t.Helper()
	k := NewSoftHSM(t)
	k.Server = startServer(t, k)
	k.Module = library(t, "p11-kit-modules", "pkcs11/p11-kit-client.so")
	k.Environment = map[string]string{"P11_KIT_SERVER_ADDRESS": "unix:path=" + k.Server.socket}
	return k
}

// Server is a p11-kit server for one token. It has a process for each
// connection, and all of them are meant where the server is.
type Server struct {
	t      testing.TB
	socket string
	module string
	env    []string
	cmd    *exec.Cmd
	output bytes.Buffer
}

// startServer serves a token until the test ends.
func startServer(t testing.TB, k *Token) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "p11") // a test's own would be too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, socket: filepath.Join(dir, "socket"), module: k.Module, env: os.Environ()}
	for name, value := range k.Environment {
		s.env = append(s.env, name+"="+value)
	}
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(dir)
	})
	s.Restart()
	return s
}

// Restart starts the server after a Kill, and waits until it listens.
func (s *Server) Restart() {
	s.t.Helper()
	if err := os.RemoveAll(s.socket); err != nil {
		s.t.Fatal(err)
	}
	s.output.Reset()
	s.cmd = exec.Command("p11-kit", "server", "--foreground", "--name", s.socket, "--provider", s.module, "pkcs11:token=edge")
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, &s.output, &s.output
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("unix", s.socket)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			s.Kill()
			s.t.Fatalf("p11-kit server does not listen: %v\n%s", err, &s.output)
		}
	}
}

// Kill ends the server at once, with all its connections.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	_ = s.cmd.Wait() // says that it was killed
}

// Stop halts the server and its connections until Continue: calls hang, and
// connections are taken on by nobody.
func (s *Server) Stop() { s.signal(syscall.SIGSTOP) }

// Continue ends Stop. Calls that hang are carried out.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

// signal sends a signal to the server and to its processes, which are one group.
func (s *Server) signal(signal syscall.Signal) {
	if s.cmd.ProcessState == nil { // its number may be another's after that
		_ = syscall.Kill(-s.cmd.Process.Pid, signal)
	}
}
