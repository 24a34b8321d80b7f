package configs

import (
	"path/filepath"
	"strings"
)

// finish gives a valid configuration the form that its users rely on: absolute
// paths and canonical hosts.
func (c *Config) finish(dir string) {
	c.Dir = dir
	for i := range c.HSM.Tokens {
		t := &c.HSM.Tokens[i]
		// Without a slash it is the dynamic linker that looks for a module.
		if strings.Contains(t.Module, "/") {
			t.Module = within(dir, t.Module)
		}
		if t.PIN.Kind == PINFile {
			t.PIN.Reference = within(dir, t.PIN.Reference)
		}
	}
	if c.Admin.HasSocket() {
		c.Admin.Socket = within(dir, c.Admin.Socket)
	}
	for _, s := range c.Sites {
		for i, host := range s.Hosts {
			s.Hosts[i], _ = canonicalHost(host)
		}
		for i := range s.ErrorPages {
			s.ErrorPages[i].File = within(dir, s.ErrorPages[i].File)
		}
		for i, certificate := range s.Certificates {
			// What it says of the PIN is the token's by now.
			s.Certificates[i].Key, _, _ = cutPINSource(certificate.Key)
			if certificate.Chain != "" {
				s.Certificates[i].Chain = within(dir, certificate.Chain)
			}
		}
	}
}

// within resolves a path that may be relative to dir.
func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
