package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"

	"sallyport/proxy/admin"
)

// openSockets opens every address that the configuration names.
func (s *service) openSockets() {
	passed := passedSockets{}
	for i, l := range s.config.Listeners {
		socket, err := passed.open(l.Address)
		if err != nil {
			s.problem(fmt.Sprintf("listeners[%d].address", i), err)
		}
		s.listeners = append(s.listeners, socket)
	}
	for i, r := range s.config.Redirects {
		socket, err := passed.open(r.Address)
		if err != nil {
			s.problem(fmt.Sprintf("redirects[%d].address", i), err)
		}
		s.redirects = append(s.redirects, socket)
	}
	if s.config.Admin.Enabled() {
		var err error
		if s.admin, err = passed.open(s.config.Admin.Address); err != nil {
			s.problem("admin.address", err)
		}
	}
	if s.config.Admin.HasSocket() {
		var err error
		if s.socket, err = admin.ListenSocket(s.config.Admin.Socket, s.log); err != nil {
			s.problem("admin.socket", socketError(err))
		}
	}
}

// socketError is a failed admin socket with what it needs.
func socketError(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return hint(err, "a service with this configuration runs already: `sallyport status` asks it, and `sallyport check --no-listen` checks beside it")
	case errors.Is(err, os.ErrNotExist):
		return hint(err, "its folder must be there; the systemd unit makes /run/sallyport")
	case errors.Is(err, os.ErrPermission):
		return hint(err, "the service's user must be able to write to its folder")
	}
	return err
}

// passedSockets are those that systemd passed, by name; they are asked for once.
type passedSockets struct {
	asked  bool
	byName map[string][]net.Listener
}

func (p *passedSockets) open(address string) (net.Listener, error) {
	name, ok := strings.CutPrefix(address, "systemd:")
	if !ok {
		return listen(address)
	}
	if !p.asked {
		p.asked = true
		var err error
		if p.byName, err = activation.ListenersWithNames(); err != nil {
			return nil, fmt.Errorf("sockets passed by systemd: %w", err)
		}
	}
	found := p.byName[name]
	if len(found) != 1 || found[0] == nil {
		return nil, fmt.Errorf("systemd passed %d TCP sockets named %q, one is needed (FileDescriptorName= in the socket unit)", len(found), name)
	}
	return found[0], nil
}

// listen opens an address. One with an IP address is of that family alone, the
// unspecified ones too, which Go would open for both. No address stands for both.
func listen(address string) (net.Listener, error) {
	network := "tcp"
	if at, err := netip.ParseAddrPort(address); err == nil {
		network = "tcp6"
		if at.Addr().Unmap().Is4() {
			network = "tcp4"
		}
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, listenError(err)
	}
	return l, nil
}

// listenError is a failed listen with what it needs.
func listenError(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return hint(err, "another process listens there, as `ss -ltnp` shows; to check beside the service that runs: sallyport check --no-listen")
	case errors.Is(err, syscall.EACCES):
		return hint(err, "ports below 1024 need CAP_NET_BIND_SERVICE, as the systemd unit gives it")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return hint(err, "this machine does not have that address")
	}
	return err
}
