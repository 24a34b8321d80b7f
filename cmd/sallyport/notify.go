package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"
)

// notifyTimeout is how long systemd may take to take what it is told. It is a busy
// process at worst (a daemon-reload), and its queue holds many messages.
const notifyTimeout = 10 * time.Second

// notify tells systemd, when it asked to be told (sd_notify(3)). A systemd that reads
// nothing holds up neither the start nor the stop for longer than notifyTimeout.
func notify(log *slog.Logger, state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	if err := tellSystemd(socket, state, time.Now().Add(notifyTimeout)); err != nil {
		log.Warn("systemd could not be told", "state", state, "error", err)
	}
}

// tellSystemd sends a state to a datagram socket; a name that begins with @ is an
// abstract one.
func tellSystemd(socket, state string, deadline time.Time) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(deadline); err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	_, err = c.Write([]byte(state))
	return err
}
