package http2

import (
	"errors"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	h2 "github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

// TestServer_PassesH2spec runs all of h2spec, the strict cases too, in
// cleartext and over TLS.
func TestServer_PassesH2spec(t *testing.T) {
	for name, secure := range map[string]bool{"clear": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, Config{Secure: secure}, hello)
			cfg := &config.Config{
				Host: "127.0.0.1", Port: f.port(), Path: "/", Timeout: 2 * time.Second,
				MaxHeaderLen: 4000, Strict: true, TLS: secure, Insecure: true,
			}
			t.Run("cases", func(t *testing.T) {
				for _, group := range []*spec.TestGroup{generic.Spec(), h2.Spec(), hpack.Spec()} {
					runSpec(t, group, cfg)
				}
			})
		})
	}
}

func runSpec(t *testing.T, group *spec.TestGroup, cfg *config.Config) {
	for _, tc := range append(group.Tests, group.StrictTests...) {
		t.Run(group.ID()+" "+tc.Desc, func(t *testing.T) {
			t.Parallel()
			conn, err := spec.Dial(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var te *spec.TestError
			switch err := tc.Run(cfg, conn); {
			case errors.Is(err, spec.ErrSkipped):
				t.Error("h2spec found nothing to try this with")
			case errors.As(err, &te):
				t.Errorf("%s\nwant %q\ngot  %q", tc.Requirement, te.Expected, te.Actual)
			case err != nil:
				t.Error(err)
			}
		})
	}
	for _, g := range group.Groups {
		runSpec(t, g, cfg)
	}
}
