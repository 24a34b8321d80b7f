package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport/configs"
	"sallyport/hsm"
)

// Exit codes. Success and an ended demonstration are 0.
const (
	exitFailure = 1
	exitUsage   = 2
)

// defaultConfig is where the packaged service has its configuration.
const defaultConfig = "/etc/sallyport/sallyport.yaml"

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// reported is an error that standard error has got already.
type reported struct{ error }

func (r reported) Unwrap() error { return r.error }

// run is the whole command; it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	var started bool // the command line was understood
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "TLS termination with private keys that live in an HSM",
		Long: `Sallyport accepts HTTPS, has every private-key operation done inside a PKCS#11
token, and balances plain HTTP over the backends behind it.

Try it without an HSM: scripts/demo.sh
Find your HSM's keys:  sallyport token list --module /path/of/vendor/library.so
Check and run:         sallyport check && sallyport serve`,
		Version:       versionLine(),
		SilenceErrors: true,
		SilenceUsage:  true,
		// usageHint has them.
		DisableSuggestions: true,
		PersistentPreRun: func(c *cobra.Command, _ []string) {
			started = true
			endQuietly(syscall.SIGABRT)
			if c.Name() != "serve" { // which tells something then
				endQuietly(syscall.SIGQUIT)
			}
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(serveCommand(), checkCommand(), doctorCommand(), statusCommand(), tokenCommand(), csrCommand(), demoCommand(), signerCommand(), versionCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)

	err := root.Execute()
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(reported)):
		return exitFailure
	case !started, errors.As(err, new(usageError)):
		report(stderr, err)
		if hintOf(err) == "" {
			fmt.Fprintf(stderr, "hint: %s\n", usageHint(root, args))
		}
		return exitUsage
	}
	report(stderr, err)
	return exitFailure
}

// usageHint is what helps who has misspelled a command, or does not know them.
func usageHint(root *cobra.Command, args []string) string {
	if parent, rest, _ := root.Find(args); parent.HasSubCommands() && len(rest) > 0 && rest[0] != "" {
		parent.SuggestionsMinimumDistance = 2 // letters
		if like := parent.SuggestionsFor(rest[0]); len(like) > 0 {
			return fmt.Sprintf("did you mean %q?", parent.CommandPath()+" "+like[0])
		}
	}
	return "sallyport --help shows the commands, sallyport COMMAND --help its flags"
}

// report prints an error as `error:` and `hint:` lines, each problem of a
// configuration on its own.
func report(w io.Writer, err error) {
	var problems *configs.Problems
	if !errors.As(err, &problems) {
		fmt.Fprintf(w, "error: %s\n", plain(err.Error()))
		if text := hintOf(err); text != "" {
			fmt.Fprintf(w, "hint: %s\n", plain(text))
		}
		return
	}
	for _, p := range problems.List {
		where := problems.File
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d", where, p.Line)
		}
		fmt.Fprintf(w, "error: %s\n", plain(strings.TrimPrefix(where+": "+p.String(), ": ")))
		if p.Hint != "" {
			fmt.Fprintf(w, "hint: %s\n", plain(p.Hint))
		}
	}
}

// hinted is an error with what can be done about it.
type hinted struct {
	error
	text string
}

func (h *hinted) Unwrap() error { return h.error }
func (h *hinted) Hint() string  { return h.text }

// hint adds to err what can be done about it.
func hint(err error, text string) error { return &hinted{err, text} }

// hintOf returns what an error says can be done about it, or "".
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	var e *hsm.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

// configFlag adds --config to a command.
func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVarP(path, "config", "c", defaultConfig, "the configuration file")
}
