package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/configs"
	"sallyport/proxy"
)

// configs and proxy do not know each other, so that they agree on names is
// shown here.
func TestBuild_PoliciesOfConfigsAreThoseOfProxy(t *testing.T) {
	for name, want := range map[string]proxy.Policy{
		configs.PolicyIntermediate: proxy.Intermediate,
		configs.PolicyModern:       proxy.Modern,
	} {
		if got, err := proxy.ParsePolicy(name); err != nil || got != want {
			t.Errorf("policy %q is %v (%v), want %v", name, got, err, want)
		}
	}
}

func TestBuild_PoolsWaitAsLongAsTheyAreTold(t *testing.T) {
	const connect, response, silence, idle = 1 * time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second
	s := &service{log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry(), config: &configs.Config{Pools: []configs.Pool{{
		Name:     "web",
		Backends: []configs.Backend{{Address: "192.0.2.1:80"}},
		Timeouts: configs.PoolTimeouts{
			Connect: configs.Duration(connect), Response: configs.Duration(response),
			Silence: configs.Duration(silence), Idle: configs.Duration(idle),
		},
	}}}}
	s.buildPools()
	p := s.pools["web"]
	if p.ConnectTimeout != connect || p.ResponseTimeout != response || p.SilenceTimeout != silence || p.IdleTimeout != idle {
		t.Errorf("%+v", p)
	}
}

func TestBuild_WarnsOfTokensThatSignForNobody(t *testing.T) {
	s := &service{config: &configs.Config{HSM: configs.HSM{Tokens: []configs.Token{{Name: "edge"}}}}}
	s.warnOfTokens()
	if len(s.warnings) != 1 || s.warnings[0].Path != "hsm.tokens[0]" {
		t.Errorf("warned of %v", s.warnings)
	}
}
