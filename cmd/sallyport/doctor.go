package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"sallyport/configs"
	"sallyport/hsm"
)

// doctorFlags are the flags of doctor.
type doctorFlags struct {
	config   string
	token    string
	sessions int
	duration time.Duration
	json     bool
}

func doctorCommand() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Exercise a token as handshakes will, and recommend its settings",
		Long: `Doctor looks at a token of the configuration from all sides: the library and the
firmware, the login, what each key can really do, how sessions open, whether a
secret key can make MACs, and the certificates of the sites that use the token.
Then it measures signatures with 1, 2, 4 … at once, up to the configured
sessions, in one signer process and in several, and recommends sessions and
processes.

It keeps the token as busy as it can for the time that it says at first, so do
not run it while a service needs the same device. It makes and deletes nothing
on the token; where no secret key can be used, it tries one that belongs to its
session alone. The PIN is tried once.

It exits with 0 if the token is fit, and with 1 if something would break
handshakes. Warnings do not fail it.`,
		Example: `  sallyport doctor --token edge
  sallyport doctor --token edge --sessions 64 --duration 5s
  sallyport doctor --token edge --json >edge.json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(c.Flags().Changed("sessions")); err != nil {
				return usageError{err}
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return doctor(ctx, f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	configFlag(c, &f.config)
	c.Flags().StringVar(&f.token, "token", "", "the token's name in the configuration; not needed where there is one")
	c.Flags().IntVar(&f.sessions, "sessions", 0, "measure up to so many sessions in each process (default: as configured)")
	c.Flags().DurationVar(&f.duration, "duration", time.Second, "how long each number of sessions is measured")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// Bounds of doctor's flags: those of the configuration's sessions, and what is
// long enough to count and short enough to wait for.
const (
	mostSessions  = 1024
	leastDuration = 10 * time.Millisecond
	mostDuration  = 10 * time.Minute
)

func (f doctorFlags) check(sessions bool) error {
	switch {
	case sessions && (f.sessions < 1 || f.sessions > mostSessions):
		return fmt.Errorf("--sessions must be from 1 to %d", mostSessions)
	case f.duration < leastDuration || f.duration > mostDuration:
		return fmt.Errorf("--duration must be from %s to %s", leastDuration, mostDuration)
	}
	return nil
}

// doctor examines a token and prints what it found, also when it is
// interrupted. Its error is the verdict when that is not "fit".
func doctor(ctx context.Context, f doctorFlags, stdout, stderr io.Writer) error {
	config, err := loadConfig(f.config)
	if err != nil {
		return err
	}
	token, err := f.choose(config.HSM.Tokens)
	if err != nil {
		return err
	}
	d := &doctorVisit{
		config: config, token: tokenConfig(token, config.Dir), duration: f.duration,
		progress: newProgress(stderr), report: newDoctorReport(token.Name),
	}
	if f.sessions > 0 {
		d.token.Settings.Sessions = f.sessions
	}
	d.run(ctx)
	d.progress.done()
	d.report.conclude(ctx.Err() != nil)
	if f.json {
		err = printJSON(stdout, d.report)
	} else {
		err = d.report.print(stdout)
	}
	if err != nil {
		return err
	}
	switch d.report.Verdict {
	case verdictUnknown:
		return errInterrupted
	case verdictUnfit:
		return hint(fmt.Errorf("token %q is unfit: %s", token.Name, d.report.Reasons[0]), d.report.firstHint())
	}
	return nil
}

// choose returns the token that is meant.
func (f doctorFlags) choose(tokens []configs.Token) (configs.Token, error) {
	var names []string
	for _, t := range tokens {
		if t.Name == f.token {
			return t, nil
		}
		names = append(names, t.Name)
	}
	switch {
	case f.token != "":
		return configs.Token{}, hint(fmt.Errorf("the configuration has no token named %q", f.token), "it has "+strings.Join(names, ", "))
	case len(tokens) == 1:
		return tokens[0], nil
	}
	return configs.Token{}, usageError{fmt.Errorf("doctor needs --token, one of %s", strings.Join(names, ", "))}
}

// doctorVisit is one examination of a token.
type doctorVisit struct {
	config   *configs.Config
	token    hsm.Config
	duration time.Duration
	progress *progress
	report   doctorReport
}

// run goes as far as it can; what it finds is in the report.
func (d *doctorVisit) run(ctx context.Context) {
	one := d.token
	one.Processes = 1
	token, stop := startToken(ctx, one)
	defer stop()
	if err := token.Ready(ctx); err != nil {
		if ctx.Err() == nil {
			d.report.fail("token", openingStep(err), err)
		}
		return
	}
	d.examine(ctx, token)
	served := d.served(token)
	able := d.tryKeys(ctx, token, served)
	d.trySecrets(ctx, token)
	d.tryCertificates(ctx, token, served, able)
	if len(able) == 0 || ctx.Err() != nil {
		return
	}
	p := newLoadPlan(able, token.Sessions(), max(2, d.token.Processes))
	d.progress.begin(p.steps(d.duration))
	d.measure(ctx, token, p, 1)
	if ctx.Err() != nil || !d.report.signs() {
		return
	}
	// The next ones open beside nothing else of ours, as they would in the service.
	stop()
	d.measureSeveral(ctx, p)
	d.report.judgeTails(p)
	if ctx.Err() == nil {
		d.report.Advice = d.report.advise(p)
	}
}

// openingStep is what of a token's opening failed.
func openingStep(err error) string {
	var e *hsm.Error
	switch {
	case errors.Is(err, hsm.ErrPIN):
		return "login"
	case errors.As(err, &e) && e.Setting != "":
		return e.Setting
	}
	return "open"
}

// startToken runs a token until stop, which may be called once more than needed.
func startToken(parent context.Context, c hsm.Config) (t *hsm.Token, stop func()) {
	// The findings tell what the log would.
	t = hsm.NewToken(c, slog.New(slog.DiscardHandler), hsm.NewMetrics(prometheus.NewRegistry()))
	ctx, cancel := context.WithCancel(parent)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t.Run(ctx)
	}()
	return t, func() {
		cancel()
		<-ended
	}
}
