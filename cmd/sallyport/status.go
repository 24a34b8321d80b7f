package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport/hsm"
	"sallyport/proxy/admin"
)

func statusCommand() *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the running service serves, why, and until when",
		Long: `Status asks the service that runs with a configuration, over admin.socket or,
where that is off, over admin.address: what its tokens are at, which certificate
each site serves and until when, what it does not serve with the reason, and how
its backends are. It exits with 1 if no service answers.`,
		Example: `  sallyport status --config /etc/sallyport/sallyport.yaml
  sallyport status --json | jq '.sites[].certificates[].served.not_after'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return status(ctx, file, asJSON, c.OutOrStdout())
		},
	}
	configFlag(c, &file)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func status(ctx context.Context, file string, asJSON bool, stdout io.Writer) error {
	config, err := loadConfig(file)
	if err != nil {
		return err
	}
	service, err := newAsker(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var s admin.Status
	if err := service.ask(ctx, "GET", "/status", &s); err != nil {
		return err
	}
	if asJSON {
		return printJSON(stdout, s)
	}
	return printStatus(stdout, s)
}

// printStatus writes s for a person: what a thing is flush left, what is to be
// said of it indented and in columns.
func printStatus(out io.Writer, s admin.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "sallyport %s, up since %s (%s)\n", s.Version, when(s.Started), span(s.Taken.Sub(s.Started)))
	if s.NotUp != "" {
		fmt.Fprintf(w, "not ready: %s\n", oneLine(s.NotUp))
	}
	for _, t := range s.Tokens {
		printToken(w, t, s.Next)
	}
	for _, site := range s.Sites {
		fmt.Fprintf(w, "\nsite %s: %s\n", site.Name, strings.Join(site.Hosts, ", "))
		for _, c := range site.Certificates {
			printCertificate(w, c)
		}
	}
	for _, p := range s.Pools {
		fmt.Fprintf(w, "\npool %s\n", p.Name)
		for _, b := range p.Backends {
			fmt.Fprintf(w, "  %s\t%s\t%d under way\t%d failed\n", b.Address, b.State, b.InFlight, b.Failures)
		}
		if !slices.ContainsFunc(p.Backends, func(b admin.Backend) bool { return b.State != "down" }) {
			fmt.Fprintf(w, "  NONE can be reached: requests get 502; the log has the reason of each (\"backend state changed\")\n")
		}
	}
	return w.Flush()
}

// effects are what a token's state means for traffic.
var effects = map[string]string{
	"starting": "full handshakes wait for it",
	"degraded": "it goes on, with fewer signatures at once",
	"down":     "full handshakes of sites that have no other token fail; open connections and resumed sessions go on; it is tried again by itself",
	"locked":   "full handshakes of sites that have no other token fail; open connections and resumed sessions go on; no login is made by itself",
}

func printToken(w io.Writer, t admin.Token, next time.Time) {
	fmt.Fprintf(w, "\ntoken %s: %s since %s\n", t.Name, t.State, when(t.Since))
	row := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", what, fmt.Sprintf(format, args...))
	}
	if t.Reason != "" {
		row("reason", "%s", oneLine(t.Reason))
	}
	if effect := effects[t.State]; effect != "" {
		row("traffic", "%s", effect)
	}
	if t.Hint != "" {
		row("hint", "%s", oneLine(t.Hint))
	}
	if t.State == "locked" {
		row("to do", "mend the PIN or the token, then: sallyport token unlock %s", t.Name)
	}
	row("token", "label %q, serial %q, %s", t.Label, t.Serial, oneLine(t.Library))
	row("processes", "%d of %d up, %d sessions, %d restarts", t.Up, t.Processes, t.Sessions, t.Restarts)
	for _, kind := range t.Signatures {
		pace := "none of late"
		if kind.Pace > 0 {
			pace = fmt.Sprintf("%.1f ms each", kind.Pace*1000)
		}
		row(strings.ToUpper(kind.Kind), "%d under way, %d waiting, %s", kind.InFlight, kind.Waiting, pace)
	}
	read := "read " + when(t.Read)
	if t.Read.IsZero() {
		read = "never read"
	}
	row("objects", "%s, next %s", read, when(next))
	if t.Trouble != nil {
		text := oneLine(t.Trouble.Text)
		if t.Trouble.Text == t.Reason {
			text = "as above"
		}
		row("last error", "%s: %s", when(t.Trouble.Time), text)
	}
}

func printCertificate(w io.Writer, c admin.Certificate) {
	from := "the token"
	if c.Chain != "" {
		from = c.Chain
	}
	fmt.Fprintf(w, "  %s, chain from %s\n", c.Key, from)
	role := "served"
	if c.Kept {
		role = "served, for want of a better one"
	}
	printPair(w, role, c.Served)
	for _, p := range c.Fallbacks {
		printPair(w, "fallback", p)
	}
	for _, r := range c.NotServed {
		fmt.Fprintf(w, "    not served since %s: %s\n", when(r.Since), oneLine(r.Text))
		if r.Hint != "" {
			fmt.Fprintf(w, "      hint: %s\n", oneLine(r.Hint))
		}
	}
}

func printPair(w io.Writer, role string, p admin.Pair) {
	left := count(p.DaysLeft, "day", "days") + " left"
	switch {
	case p.DaysLeft < 0:
		left = "EXPIRED: clients refuse it"
	case p.DaysLeft < int(hsm.ExpiresSoon.Hours()/24):
		left = "ONLY " + left
	}
	fmt.Fprintf(w, "    %s: %s (%s) on %s\n", role, p.Key, p.Type, strings.Join(p.Tokens, ", "))
	row := func(what, text string) { fmt.Fprintf(w, "      %s\t%s\n", what, text) }
	row("certificate", fmt.Sprintf("%s, serial %s", oneLine(p.Subject), p.Serial))
	row("valid", fmt.Sprintf("%s to %s, %s", when(p.NotBefore), when(p.NotAfter), left))
	row("schemes", strings.Join(p.Schemes, " "))
	for _, issuer := range p.Chain {
		row("sent with", oneLine(issuer))
	}
	if p.Warning != "" {
		row("WARNING", oneLine(p.Warning))
	}
}

// oneLine is a text that others have written, fit for a line on a terminal.
func oneLine(text string) string { return plain(strings.ReplaceAll(text, "\n", "; ")) }

// when is a time as an operator compares it with a log.
func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// span is a length of time in its two largest units.
func span(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return d.Round(time.Second).String()
}
