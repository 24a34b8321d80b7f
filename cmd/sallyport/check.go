package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sallyport/configs"
	"sallyport/hsm"
)

func checkCommand() *cobra.Command {
	var file string
	var noListen bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Try everything that the configuration names, without serving",
		Long: `Check reads the configuration, opens its addresses, logs in to its tokens,
proves each key with its certificate by test signatures, and dials the backends,
of which those of protocol: h2c have to answer by HTTP/2.
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
	config, err := loadConfig(file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// The problems are reported below; the log would say them twice.
	s, err := build(ctx, config, file, slog.New(slog.DiscardHandler), listen, 0)
	if err != nil {
		return err
	}
	defer s.close()
	s.warnOfExpiry(time.Now())
	s.warnOfGaps()
	s.dialBackends(ctx)
	if ctx.Err() != nil {
		return errInterrupted
	}
	for _, w := range s.warnings {
		fmt.Fprintf(stderr, "warning: %s\n", plain(w.String()))
		if w.Hint != "" {
			fmt.Fprintf(stderr, "hint: %s\n", plain(w.Hint))
		}
	}
	s.describe(stdout)
	return nil
}

// warnOfExpiry warns of certificates that expire soon. While it serves, the
// keyring does that by itself.
func (s *service) warnOfExpiry(now time.Time) {
	for i, certificates := range s.sites {
		for j, pairs := range certificates.Pairs() {
			leaf := pairs[0].Leaf()
			ends := pairs[0].Chain.Ends()
			left := ends.NotAfter.Sub(now)
			if left >= hsm.ExpiresSoon {
				continue
			}
			if ends != leaf {
				s.warnings = append(s.warnings, configs.Problem{
					Path: fmt.Sprintf("sites[%d].certificates[%d]", i, j),
					Message: fmt.Sprintf("the intermediate (%s) in the chain of site %s expires in %s, on %s",
						ends.Subject, s.config.Sites[i].Name, remaining(left), when(ends.NotAfter)),
					Hint: "clients refuse the chain from then on: get the authority's present intermediate, and put it in its place",
				})
			} else {
				s.warnings = append(s.warnings, configs.Problem{
					Path: fmt.Sprintf("sites[%d].certificates[%d]", i, j),
					Message: fmt.Sprintf("the certificate of site %s (%s) expires in %s, on %s",
						s.config.Sites[i].Name, leaf.Subject, remaining(left), when(leaf.NotAfter)),
					Hint: "clients refuse it from then on: have it renewed (`sallyport csr` makes the request), write the new one in its place, and then `sallyport token rescan` where the service runs",
				})
			}
		}
	}
}

// remaining is how long a certificate is still good, in days, or in hours at last.
func remaining(left time.Duration) string {
	if left < 48*time.Hour {
		return count(int(left.Hours()), "hour", "hours")
	}
	return count(int(left.Hours()/24), "day", "days")
}

// warnOfGaps warns of chains that seem to lack a certificate. While it serves, the
// keyring does that by itself.
func (s *service) warnOfGaps() {
	for i, certificates := range s.sites {
		for j, pairs := range certificates.Pairs() {
			if gap := pairs[0].Gap(); gap != nil {
				s.warnings = append(s.warnings, configs.Problem{
					Path: fmt.Sprintf("sites[%d].certificates[%d].chain", i, j), Message: gap.Error(), Hint: hintOf(gap),
				})
			}
		}
	}
}

// describe says what would be served.
func (s *service) describe(w io.Writer) {
	for i, t := range s.tokens {
		info := t.Inventory().Token
		fmt.Fprintf(w, "token %s: %s, label %q, serial %q, %d sessions\n",
			s.config.HSM.Tokens[i].Name, oneLine(info.Library), info.Label, info.Serial, info.Sessions)
	}
	for i, site := range s.config.Sites {
		for _, pairs := range s.sites[i].Pairs() {
			for j, p := range pairs {
				as := ""
				if j > 0 {
					as = " (fallback)"
				}
				fmt.Fprintf(w, "site %s: %s key %s, certificate %s until %s%s\n",
					site.Name, p.Key.Type(), p.Key.URI(), oneLine(p.Leaf().Subject.String()), p.Leaf().NotAfter.UTC().Format(time.DateOnly), as)
			}
		}
	}
	fmt.Fprintln(w, "ok")
}
