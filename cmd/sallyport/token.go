package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"sallyport/configs"
	"sallyport/hsm"
	"sallyport/hsm/wire"
)

func tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Look at PKCS#11 tokens, have them read anew, unlock them",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return usageError{errors.New("token needs a command, such as list")}
		},
	}
	c.AddCommand(tokenListCommand(), tokenRescanCommand(), tokenUnlockCommand())
	return c
}

// tokenListFlags are the flags of token list.
type tokenListFlags struct {
	config      string
	module      string
	label       string
	pin         string
	environment []string
	json        bool
}

func tokenListCommand() *cobra.Command {
	var f tokenListFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "List slots, tokens, keys and certificates",
		Long: `List shows the tokens of the configuration with what they hold, and the URI of
each key as a site's certificates take it. With --module it needs no
configuration: it shows every slot of a vendor's library and the objects that
can be seen without a login, and with --label and --pin those of one token
after the login.`,
		Example: `  sallyport token list --config /etc/sallyport/sallyport.yaml
  sallyport token list --module /usr/lib/softhsm/libsofthsm2.so
  sallyport token list --module /usr/lib/softhsm/libsofthsm2.so --label edge --pin file:edge.pin`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(c.Flags().Changed("config")); err != nil {
				return usageError{err}
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return tokenList(ctx, f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	configFlag(c, &f.config)
	c.Flags().StringVar(&f.module, "module", "", "a vendor's PKCS#11 library, instead of the configuration")
	c.Flags().StringVar(&f.label, "label", "", "with --module: the label of the token to log in to")
	c.Flags().StringVar(&f.pin, "pin", "", "with --label: where the PIN is (file:PATH, credential:NAME, env:NAME or none)")
	c.Flags().StringArrayVar(&f.environment, "env", nil, "with --module: NAME=VALUE for the vendor's library, may be given often")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// check refuses flags that do not go together.
func (f tokenListFlags) check(config bool) error {
	switch {
	case config && f.module != "":
		return errors.New("--config and --module exclude each other")
	case f.module == "" && (f.label != "" || f.pin != "" || len(f.environment) > 0):
		return errors.New("--label, --pin and --env go with --module")
	case (f.label == "") != (f.pin == ""):
		return errors.New("--label and --pin go together")
	}
	return nil
}

// listing is what is printed of one token.
type listing struct {
	Name      string         `json:"name,omitempty"` // in the configuration
	Module    string         `json:"module"`
	LoggedIn  bool           `json:"logged_in"`
	Inventory wire.Inventory `json:"inventory"`
}

func tokenList(ctx context.Context, f tokenListFlags, stdout, stderr io.Writer) error {
	log := serviceLog(configs.Log{Level: "warn", Format: "text"}, stderr)
	tokens, err := f.tokens()
	if err != nil {
		return err
	}
	var all []listing
	var failed error // the first; one token that fails does not hide the others
	for _, c := range tokens {
		var found []listing
		if c.Settings.PIN == "" {
			found, err = visible(ctx, c, log)
		} else {
			found, err = loggedIn(ctx, c)
		}
		if errors.Is(err, errInterrupted) {
			return err
		}
		if err != nil && len(tokens) > 1 {
			err = hint(fmt.Errorf("token %s: %w", c.Name, err), hintOf(err))
		}
		failed = cmp.Or(failed, err)
		all = append(all, found...)
	}
	for _, l := range all {
		if l.Inventory.Problem != "" {
			failed = cmp.Or(failed, hint(errors.New("not every token could be read"), "`sallyport token list --label LABEL --pin file:PATH` logs in to one, and says more"))
		}
	}
	if f.json {
		if err := printJSON(stdout, all); err != nil {
			return err
		}
		return failed
	}
	if len(all) == 0 {
		return cmp.Or(failed, errors.New("the module shows no initialised token"))
	}
	for i, l := range all {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		if err := l.print(stdout); err != nil {
			return err
		}
	}
	return failed
}

// tokens are those to look at: the configuration's, or the one of the flags.
func (f tokenListFlags) tokens() ([]hsm.Config, error) {
	if err := refuseTracing(); err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if f.module != "" {
		var source configs.PINSource
		if f.pin != "" {
			if err := source.UnmarshalText([]byte(f.pin)); err != nil {
				return nil, fmt.Errorf("--pin: %w", err)
			}
		}
		if _, err := hidePINs(source); err != nil {
			return nil, err
		}
		c := hsm.Config{Name: f.label, Dir: dir, PIN: sealedPIN(source), Environment: make(map[string]string)}
		c.Settings = wire.Settings{Module: f.module, Label: f.label, PIN: source.String()}
		if strings.Contains(f.module, "/") {
			if c.Settings.Module, err = filepath.Abs(f.module); err != nil {
				return nil, err
			}
		}
		for _, e := range f.environment {
			name, value, ok := strings.Cut(e, "=")
			if !ok {
				return nil, fmt.Errorf("--env %s is not of the form NAME=VALUE", e)
			}
			c.Environment[name] = value
		}
		return []hsm.Config{c}, nil
	}
	config, err := loadConfig(f.config)
	if err != nil {
		return nil, err
	}
	var all []hsm.Config
	for _, t := range config.HSM.Tokens {
		all = append(all, tokenConfig(t, config.Dir))
	}
	return all, nil
}

// visible is what a module shows without a login.
func visible(ctx context.Context, c hsm.Config, log *slog.Logger) ([]listing, error) {
	slots, err := hsm.Slots(ctx, c, log)
	if err != nil {
		return nil, err
	}
	var all []listing
	for _, inv := range slots {
		all = append(all, listing{Module: c.Settings.Module, Inventory: inv})
	}
	return all, nil
}

// loggedIn is what one token holds.
func loggedIn(parent context.Context, c hsm.Config) ([]listing, error) {
	c.Settings.Sessions, c.Processes = 1, 1
	token := hsm.NewToken(c, slog.New(slog.DiscardHandler), hsm.NewMetrics(prometheus.NewRegistry()))
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		token.Run(ctx)
	}()
	err := token.Ready(ctx)
	inv := token.Inventory()
	cancel()
	<-done
	if err != nil && parent.Err() != nil {
		return nil, errInterrupted
	}
	if err != nil {
		return nil, err
	}
	return []listing{{Name: c.Name, Module: c.Settings.Module, LoggedIn: true, Inventory: inv}}, nil
}

func (l listing) print(w io.Writer) error {
	t := l.Inventory.Token
	name := ""
	if l.Name != "" {
		name = " " + l.Name
	}
	fmt.Fprintf(w, "token%s  slot %d  label %q  serial %q\n", name, t.Slot, t.Label, t.Serial)
	fmt.Fprintf(w, "  %s (%s)\n", oneLine(t.Manufacturer+", "+t.Model+", "+t.Library), l.Module)

	var table table
	for _, k := range l.Inventory.Keys {
		text := hsm.KeyURI(t, k)
		switch {
		case k.Reason != "":
			text = "cannot sign here: " + k.Reason
		case k.Bare:
			text += " (its public key is not on the token, and has to be in a certificate)"
		}
		table.row("key", strconv.Quote(k.Label), k.Type, oneLine(text))
	}
	for _, c := range l.Inventory.Certificates {
		table.row("certificate", strconv.Quote(c.Label), oneLine(describeCertificate(c, l.Inventory.Keys)))
	}
	if err := table.print(w, "  "); err != nil {
		return err
	}
	if l.Inventory.Problem != "" {
		fmt.Fprintf(w, "  cannot be read: %s\n", oneLine(l.Inventory.Problem))
	} else if !l.LoggedIn {
		fmt.Fprintln(w, "  (without a login; private keys may be hidden)")
	}
	return nil
}

// describeCertificate says whose a certificate is, until when, and for which of the keys.
func describeCertificate(c wire.Certificate, keys []wire.Key) string {
	cert, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return fmt.Sprintf("cannot be read: %v", err)
	}
	text := fmt.Sprintf("%s until %s", cert.Subject, cert.NotAfter.UTC().Format(time.DateOnly))
	i := slices.IndexFunc(keys, func(k wire.Key) bool {
		return len(k.Public) > 0 && bytes.Equal(k.Public, cert.RawSubjectPublicKeyInfo)
	})
	if i >= 0 {
		text += fmt.Sprintf(", for key %q", keys[i].Label)
	}
	return text
}
