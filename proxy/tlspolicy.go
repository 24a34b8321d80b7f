package proxy

import (
	"crypto/tls"
	"fmt"
)

// Policy is a named choice of TLS versions and suites, after Mozilla's.
type Policy int

const (
	Intermediate Policy = iota // TLS 1.2 with ECDHE and AEAD only, and 1.3
	Modern                     // TLS 1.3
)

func (p Policy) String() string {
	switch p {
	case Intermediate:
		return "intermediate"
	case Modern:
		return "modern"
	}
	return ""
}

// ParsePolicy returns the policy called name; "" is intermediate.
func ParsePolicy(name string) (Policy, error) {
	switch name {
	case "", "intermediate":
		return Intermediate, nil
	case "modern":
		return Modern, nil
	}
	return 0, fmt.Errorf("unknown TLS policy %q: intermediate or modern", name)
}

// intermediateSuites are for TLS 1.2; crypto/tls orders them by itself and
// chooses TLS 1.3's.
var intermediateSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// config returns a fresh configuration without certificates. Key exchanges are
// crypto/tls's own, X25519MLKEM768 among them.
func (p Policy) config() *tls.Config {
	c := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: intermediateSuites,
		NextProtos:   []string{"h2", "http/1.1"},
		// Small records at first would cost a system call each, for the sake of
		// clients on slow lines; a LAN's edge has few of these.
		DynamicRecordSizingDisabled: true,
	}
	if p == Modern {
		c.MinVersion = tls.VersionTLS13
	}
	return c
}

// refusal returns the configuration for names that no site serves. Without a
// certificate crypto/tls answers with the alert unrecognized_name(112). A
// resumption skips the choice of a certificate, so there are no tickets here:
// one that another site made must not open a connection under this name.
func (p Policy) refusal() *tls.Config {
	c := p.config()
	c.SessionTicketsDisabled = true
	return c
}

// versionName is a TLS version for logs and metrics, "" when none was agreed.
func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	}
	return ""
}
