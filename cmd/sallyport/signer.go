package main

import (
	"github.com/spf13/cobra"

	"sallyport/hsm/signer"
)

// signerCommand is the signer process. It is hidden, as no operator starts it:
// serve does, with a socketpair as file descriptor 3.
func signerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "signer",
		Short:  "The process that talks to a token; started by serve",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return signer.Main() },
	}
}
