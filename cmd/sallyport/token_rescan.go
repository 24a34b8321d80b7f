package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport/proxy/admin"
)

func tokenRescanCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "rescan",
		Short: "Have the running service read its tokens anew",
		Long: `Rescan has the service that runs read its tokens anew, for keys and certificates
that were made meanwhile, and waits until that is done. It says what is served
otherwise than before and what is not served with the reason, and exits with 1
if a token could not be read. A token that does not answer within 10 seconds is
named, and is served by what it held until it has been read; the others do not
wait for it. It needs admin.socket.`,
		Example: `  sallyport token rescan --config /etc/sallyport/sallyport.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return tokenRescan(ctx, file, c.OutOrStdout())
		},
	}
	configFlag(c, &file)
	return c
}

func tokenRescan(ctx context.Context, file string, stdout io.Writer) error {
	var done admin.Rescan
	if err := command(ctx, file, "/rescan", &done); err != nil {
		return err
	}
	for _, change := range done.Changes {
		fmt.Fprintln(stdout, oneLine(change))
	}
	switch {
	case len(done.Changes) > 0:
	case len(done.Unread) > 0:
		fmt.Fprintln(stdout, "nothing has changed in what could be read")
	default:
		fmt.Fprintln(stdout, "nothing has changed since the last reading")
	}
	for _, reason := range done.NotServed {
		fmt.Fprintf(stdout, "not served: %s\n", oneLine(reason))
	}
	if len(done.Unread) > 0 {
		return hint(fmt.Errorf("could not be read: %s", strings.Join(done.Unread, "; ")), "`sallyport status` shows what the tokens are at, and what to do")
	}
	return nil
}

func tokenUnlockCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "unlock NAME",
		Short: "Have the running service try a refused PIN once more",
		Long: `Unlock has the service that runs log in once more to a token that has refused
its PIN, after the PIN or the token was mended. NAME is what the configuration
calls the token. It waits for the outcome. Each call is one try, of which tokens
allow a few. It needs admin.socket.`,
		Example: `  sallyport token unlock edge --config /etc/sallyport/sallyport.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			if strings.Contains(args[0], "/") {
				return usageError{errors.New("NAME is a token's name in the configuration")}
			}
			if err := command(ctx, file, "/tokens/"+args[0]+"/unlock", &struct{}{}); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "token %s is up\n", args[0])
			return nil
		},
	}
	configFlag(c, &file)
	return c
}

// command has the running service change something.
func command(ctx context.Context, file, path string, result any) error {
	config, err := loadConfig(file)
	if err != nil {
		return err
	}
	service, err := newSocketAsker(config)
	if err != nil {
		return err
	}
	err = service.ask(ctx, "POST", path, result)
	if ctx.Err() != nil {
		return errInterrupted
	}
	return err
}
