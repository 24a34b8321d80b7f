package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"sallyport/configs"
	"sallyport/hsm"
)

// csrFlags are the flags of csr.
type csrFlags struct {
	config       string
	key          string
	hosts        []string
	organization string
}

func csrCommand() *cobra.Command {
	var f csrFlags
	c := &cobra.Command{
		Use:   "csr",
		Short: "Make a certificate request, signed in the token",
		Long: `Csr prints a certificate request (PKCS #10, in PEM) for a key of the
configuration's tokens, signed by that key inside the token. Nothing is exported
but the public key. The first host is the common name as well, unless it is longer
than 64 characters.

A service that runs is not disturbed: csr has sessions of its own.`,
		Example: `  sallyport csr --key 'pkcs11:token=edge;object=www;id=%02' --host www.example.com --host '*.example.org' >www.csr`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.key == "" || len(f.hosts) == 0 {
				return usageError{errors.New("csr needs --key and at least one --host")}
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return csr(ctx, f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	configFlag(c, &f.config)
	c.Flags().StringVar(&f.key, "key", "", "the key's URI, as token list prints it")
	c.Flags().StringArrayVar(&f.hosts, "host", nil, "a name or an IP address for the certificate, may be given often")
	c.Flags().StringVar(&f.organization, "organization", "", "the subject's organization")
	return c
}

func csr(ctx context.Context, f csrFlags, stdout, stderr io.Writer) error {
	uri, err := hsm.ParseURI(f.key)
	if err != nil {
		return usageError{fmt.Errorf("--key: %w", err)}
	}
	for i, host := range f.hosts {
		if f.hosts[i], err = configs.CanonicalHost(host); err != nil {
			return usageError{fmt.Errorf("--host: %w", err)}
		}
	}
	config, err := loadConfig(f.config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	log := serviceLog(configs.Log{Level: "error", Format: "text"}, stderr)
	metrics := hsm.NewMetrics(prometheus.NewRegistry())
	var tokens []*hsm.Token
	for _, t := range config.HSM.Tokens {
		if t.Token != "" && uri.Token != nil && t.Token != *uri.Token {
			continue // its PIN need not be spent
		}
		c := tokenConfig(t, config.Dir)
		c.Settings.Sessions, c.Processes, c.Keys = 1, 1, []hsm.URI{uri}
		token := hsm.NewToken(c, log, metrics)
		running.Go(func() { token.Run(ctx) })
		if err := token.Ready(ctx); err != nil {
			return err
		}
		tokens = append(tokens, token)
	}
	if len(tokens) == 0 {
		var labels []string
		for _, t := range config.HSM.Tokens {
			labels = append(labels, strconv.Quote(t.Token))
		}
		return hint(fmt.Errorf("the configuration has no token with the label %q", *uri.Token), "it has "+strings.Join(labels, ", "))
	}
	keys, _, err := hsm.FindKeys(tokens, uri)
	if err != nil {
		return err
	}
	if len(keys) > 1 {
		var all []string
		for _, k := range keys {
			all = append(all, k.URI())
		}
		return hint(fmt.Errorf("%d keys match %s", len(keys), uri), "name one of them: "+strings.Join(all, " or "))
	}
	request, err := certificateRequest(keys[0], f)
	if err != nil {
		return err
	}
	return pem.Encode(stdout, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})
}

// maxCommonName is how long a common name may be (RFC 5280, appendix A.1). Clients look at
// the alternative names alone.
const maxCommonName = 64

// certificateRequest is the PKCS #10 request (RFC 2986) in DER, checked.
func certificateRequest(key *hsm.Key, f csrFlags) ([]byte, error) {
	template := new(x509.CertificateRequest)
	if len(f.hosts[0]) <= maxCommonName {
		template.Subject.CommonName = f.hosts[0]
	}
	if f.organization != "" {
		template.Subject.Organization = []string{f.organization}
	}
	for _, host := range f.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, err
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, err
	}
	return der, request.CheckSignature()
}
