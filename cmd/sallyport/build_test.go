package main

import (
	"testing"

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
