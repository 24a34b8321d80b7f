package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"sallyport/configs"
	"sallyport/proxy"
)

func serveCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Accept HTTPS and forward it",
		Long: `Serve runs until it gets SIGTERM or SIGINT. It then stops accepting, lets the
requests under way finish within shutdown_timeout, and exits with 0. A second
signal ends it at once. On SIGHUP it reads its tokens anew, for new keys and
certificates; a PIN that was refused is tried again by sallyport token unlock alone.

A token that is not there yet is waited for, at most for hsm.start_timeout. A
refused PIN, a wrong setting and an unfit key end it with 1 at once.

On SIGQUIT it logs where its goroutines are, without what they hold, and goes on.

The service log goes to standard error, the access log to standard output. Lines
that nobody takes in time are dropped and counted; the service goes on.`,
		Example: "  sallyport serve --config /etc/sallyport/sallyport.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return serve(c.Context(), file, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	configFlag(c, &file)
	return c
}

func serve(ctx context.Context, file string, stdout, stderr io.Writer) error {
	takeTime()
	// Session keys and requests are in this process's memory.
	if err := refuseTracing(); err != nil {
		return err
	}
	config, err := loadConfig(file)
	if err != nil {
		return err
	}
	// Not before, since a signal that was caught would be lost if loadConfig
	// starts over.
	defer takeBallast()()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal is no longer caught
	logs := startLogs(config.Log, stdout, stderr)
	defer logs.close()
	defer tellOnQuit(logs.service)()
	return logs.report(serveLogged(ctx, config, file, logs))
}

// serveLogged is serve from where there are logs on.
func serveLogged(ctx context.Context, config *configs.Config, file string, logs *logs) error {
	s, err := build(ctx, config, file, logs.service, true, time.Duration(config.HSM.StartTimeout))
	if errors.Is(err, errInterrupted) {
		logs.service.Info("stopped before it served")
		return nil
	}
	if err != nil {
		return err
	}
	defer s.close()
	s.registry.MustRegister(logs.collectors()...)
	for _, w := range s.warnings {
		attrs := []any{"setting", w.Path, "warning", w.Message}
		if w.Hint != "" {
			attrs = append(attrs, "hint", w.Hint)
		}
		s.log.Warn("configuration warning", attrs...)
	}
	server, err := proxy.New(s.proxyConfig(logs.access))
	if err != nil {
		return err
	}
	return s.run(ctx, server)
}

// run serves until ctx ends or a part fails, and returns when all parts have ended.
func (s *service) run(ctx context.Context, server *proxy.Server) error {
	// The admin listener tells of the drain, so it outlives the proxy.
	adminCtx, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAdmin()
	parts, ctx := errgroup.WithContext(ctx)
	servers, err := s.adminServers(func() error {
		if ctx.Err() != nil {
			return errors.New("stopping")
		}
		return s.ready()
	})
	if err != nil {
		return err
	}
	for _, a := range servers {
		parts.Go(func() error { return a.Run(adminCtx) })
	}
	parts.Go(func() error { return s.keyring.Run(adminCtx) })
	parts.Go(func() error { s.heedHangups(ctx); return nil })
	draining, drain := context.WithCancel(context.WithoutCancel(ctx))
	defer drain()
	parts.Go(func() error {
		<-ctx.Done()
		s.log.Info("stopping", "shutdown_timeout", time.Duration(s.config.ShutdownTimeout))
		drain()
		notify(s.log, stoppingState(time.Duration(s.config.ShutdownTimeout)))
		return nil
	})
	parts.Go(func() error {
		defer stopAdmin()
		return server.Run(draining)
	})
	for i, l := range s.listeners {
		s.log.Info("listening", "for", "clients", "listener", s.config.Listeners[i].Address, "address", l.Addr().String(), "policy", s.config.Listeners[i].Policy)
	}
	for i, l := range s.redirects {
		s.log.Info("listening", "for", "redirects", "listener", s.config.Redirects[i].Address, "address", l.Addr().String(), "to", s.config.Redirects[i].To)
	}
	s.log.Info("serving", "version", versionName(), "fips", fipsMode())
	notify(s.log, "READY=1\nSTATUS=serving")
	err = parts.Wait()
	s.log.Info("stopped")
	return err
}

// stopGrace is for what comes behind shutdown_timeout: requests that are cut, and signer
// processes that end.
const stopGrace = 10 * time.Second

// stoppingState tells systemd of the stop, and how long it may take: TimeoutStopSec= may
// be shorter, and would cut the drain off.
func stoppingState(timeout time.Duration) string {
	return fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", (timeout + stopGrace).Microseconds())
}

// heedHangups reads the tokens anew on SIGHUP. A PIN that was refused is left
// alone: tools send SIGHUP after each rotation, and tokens count the tries.
func (s *service) heedHangups(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			s.log.Info("reading the tokens anew", "cause", "SIGHUP")
			s.keyring.Rescan()
		}
	}
}
