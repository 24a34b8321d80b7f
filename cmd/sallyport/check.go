package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sallyport/configs"
)

func checkCommand() *cobra.Command {
	var file string
	var noListen bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Try everything that the configuration names, without serving",
		Long: `Check reads the configuration, opens its addresses, logs in to its tokens,
proves each key with its certificate by test signatures, and dials the backends.
It reports every problem at once, by the path of the setting, and exits with 1
if there is one. Warnings, a backend that is down among them, do not fail it.`,
		Example: `  sallyport check --config /etc/sallyport/sallyport.yaml
  sallyport check --no-listen    # while a service with the same addresses runs`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return check(c.Context(), file, !noListen, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	configFlag(c, &file)
	c.Flags().BoolVar(&noListen, "no-listen", false, "do not open the addresses")
	return c
}

func check(ctx context.Context, file string, listen bool, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := configs.Load(file)
	if err != nil {
		return err
	}
	// The problems are reported below; the log would say them twice.
	quiet := config.Log
	quiet.Level, quiet.Format = "error", "text"
	s, err := build(ctx, config, file, serviceLog(quiet, io.Discard), listen)
	if err != nil {
		return err
	}
	defer s.close()
	s.dialBackends(ctx)
	for _, w := range s.warnings {
		fmt.Fprintf(stderr, "warning: %s\n", w)
	}
	s.describe(stdout)
	return nil
}

// dialBackends warns of each backend that cannot be reached now.
func (s *service) dialBackends(ctx context.Context) {
	for i, p := range s.config.Pools {
		for j, b := range p.Backends {
			d := net.Dialer{Timeout: time.Duration(p.Timeouts.Connect)}
			conn, err := d.DialContext(ctx, "tcp", b.Address)
			if err != nil {
				s.warn(fmt.Sprintf("pools[%d].backends[%d].address", i, j), "cannot be reached now: %v", err)
				continue
			}
			conn.Close()
		}
	}
}

// describe says what would be served.
func (s *service) describe(w io.Writer) {
	for i, t := range s.tokens {
		info := t.Inventory().Token
		fmt.Fprintf(w, "token %s: %s, label %q, serial %q, %d sessions\n",
			s.config.HSM.Tokens[i].Name, info.Library, info.Label, info.Serial, info.Sessions)
	}
	for i, site := range s.config.Sites {
		for _, p := range s.sites[i].Pairs() {
			fmt.Fprintf(w, "site %s: %s key %s, certificate %s until %s\n",
				site.Name, p.Key.Type(), p.Key.URI(), p.Leaf().Subject, p.Leaf().NotAfter.UTC().Format(time.DateOnly))
		}
	}
	fmt.Fprintln(w, "ok")
}
