package hsm_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

func TestFindKeys_SaysWhatIsThere(t *testing.T) {
	s := hsmtest.NewSoftHSM(t) // others make no Ed25519 keys
	s.GenerateKey("ec", "0a", "EC:prime256v1")
	s.GenerateKey("ed", "0b", "EC:edwards25519")
	s.GenerateKey("p521", "0c", "EC:secp521r1")
	token := up(t, configOf(s))
	for _, c := range []struct {
		uri  string
		want string
		is   error
	}{
		{"pkcs11:object=www", `holds no key "pkcs11:object=www"; it holds`, hsm.ErrNoKey},
		{"pkcs11:token=prod;object=ec", "no configured token matches", hsm.ErrNoKey},
		{"pkcs11:object=ed", "only RSA and EC keys", hsm.ErrUnfit},
		{"pkcs11:object=p521", "only the curves P-256 and P-384", hsm.ErrUnfit},
	} {
		_, _, err := hsm.FindKeys([]*hsm.Token{token}, uri(t, c.uri))
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.uri, err, c.want)
		}
	}
	keys, _, err := hsm.FindKeys([]*hsm.Token{token}, uri(t, "pkcs11:object=ec"))
	if err != nil || len(keys) != 2 {
		t.Errorf("two keys of one label: found %d, %v", len(keys), err)
	}
	if k := find(t, token, "pkcs11:object=ec;id=%0A"); k.URI() != "pkcs11:token=edge;object=ec;id=%0A" {
		t.Errorf("URI %s", k.URI())
	}
}

func TestKeyring_RefusesWhatDoesNotBelongTogether(t *testing.T) {
	s := hsmtest.New(t)
	token := up(t, configOf(s))
	ec, other := find(t, token, "pkcs11:object=ec"), find(t, token, "pkcs11:object=rsa")
	now := time.Now()
	for name, c := range map[string]struct {
		chain *x509.Certificate
		want  string
		hint  string
	}{
		"another key":    {s.Issue(other.Public(), nil), "does not belong to key", `it belongs to key "pkcs11:token=edge;object=rsa;id=%01"`},
		"no key of ours": {issue(t, "other", nil).cert, "does not belong to key", "was the key made anew"},
		"expired": {s.Issue(ec.Public(), func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour) }),
			"it expired on", "have it renewed"},
		"not yet valid": {s.Issue(ec.Public(), func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }), "not valid before", "this machine's clock says"},
		"for clients": {s.Issue(ec.Public(), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
			"lacks serverAuth", "serverAuth"},
		"for encryption": {s.Issue(ec.Public(), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), "lacks digitalSignature", "digitalSignature"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := addSite(t, token, hsm.Entry{Key: uri(t, "pkcs11:object=ec"), Chain: s.WriteChain("bad.pem", c.chain)})
			var e *hsm.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("got %v with the hint %q, want %q and %q", err, e.Hint, c.want, c.hint)
			}
		})
	}
	got := certificateFor(t, siteOf(t, token, hsm.Entry{Key: uri(t, "pkcs11:object=rsa")}))
	for _, want := range []tls.SignatureScheme{tls.PSSWithSHA256, tls.PKCS1WithSHA256} {
		if !slices.Contains(got.SupportedSignatureAlgorithms, want) {
			t.Errorf("schemes %v lack %v", got.SupportedSignatureAlgorithms, want)
		}
	}
}

// hello is a client's that takes RSA and ECDSA.
func hello() *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: "localhost", SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes: []tls.SignatureScheme{tls.PSSWithSHA256, tls.ECDSAWithP256AndSHA256},
		SupportedCurves:  []tls.CurveID{tls.CurveP256},
	}
}

func certificateFor(t *testing.T, c *hsm.Certificates) *tls.Certificate {
	t.Helper()
	got, err := c.Certificate(hello())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCertificates_ECDSAFirstWhereTheClientTakesBoth(t *testing.T) {
	token := up(t, configOf(hsmtest.New(t)))
	certs := siteOf(t, token, hsm.Entry{Key: uri(t, "pkcs11:object=rsa")}, hsm.Entry{Key: uri(t, "pkcs11:object=ec")})
	if got := certificateFor(t, certs); got.Leaf.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("chose %s", got.Leaf.PublicKeyAlgorithm)
	}
	rsaOnly := hello()
	rsaOnly.ServerName = "localhost"
	rsaOnly.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256}
	if got, err := certs.Certificate(rsaOnly); err != nil || got.Leaf.PublicKeyAlgorithm != x509.RSA {
		t.Errorf("for a client without ECDSA: chose %v, %v", got, err)
	}
	if err := certs.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

// An RSA key on a token without PSS signs in TLS 1.2 alone, and clients that take
// TLS 1.3 as well are served in TLS 1.2 unless another pair will do for them.
func TestCertificates_WithoutPSSServeTLS12(t *testing.T) {
	c, f := onFaulty(t, hsmtest.New(t))
	token := up(t, c)
	f.Return("C_SignInit", hsmtest.CKR_MECHANISM_INVALID, 3) // PSS is tried first
	rsaKey := hsm.Entry{Key: uri(t, "pkcs11:object=rsa")}
	alone := siteOf(t, token, rsaKey)
	f.Return("C_SignInit", hsmtest.CKR_MECHANISM_INVALID, 3)
	both := siteOf(t, token, rsaKey, hsm.Entry{Key: uri(t, "pkcs11:object=ec")})
	with := siteOf(t, token, rsaKey)
	if p := alone.Pairs()[0][0]; p.TLS13() {
		t.Fatalf("it signs in TLS 1.3, with %v", p.Schemes())
	}
	of := func(versions []uint16, schemes ...tls.SignatureScheme) *tls.ClientHelloInfo {
		h := hello()
		h.SupportedVersions, h.SignatureSchemes = versions, schemes
		h.CipherSuites = []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		return h
	}
	versions := []uint16{tls.VersionTLS13, tls.VersionTLS12}
	all := []tls.SignatureScheme{tls.PSSWithSHA256, tls.PKCS1WithSHA256, tls.ECDSAWithP256AndSHA256}
	for name, c := range map[string]struct {
		site *hsm.Certificates
		from *tls.ClientHelloInfo
		want uint16
	}{
		"that key alone":                  {alone, of(versions, all...), tls.VersionTLS12},
		"a client of TLS 1.3 alone":       {alone, of(versions[:1], all...), 0},
		"a client of TLS 1.2":             {alone, of(versions[1:], all...), 0},
		"beside ECDSA":                    {both, of(versions, all...), 0},
		"beside ECDSA, for an RSA client": {both, of(versions, all[:2]...), tls.VersionTLS12},
		"an RSA key with PSS":             {with, of(versions, all...), 0},
		"nothing in common":               {alone, of(versions, tls.Ed25519), 0},
	} {
		if got := c.site.MaxVersion(c.from); got != c.want {
			t.Errorf("%s: %x, want %x", name, got, c.want)
		}
	}
}

func TestReadChain_IsStrict(t *testing.T) {
	s := hsmtest.New(t)
	ca, key := s.CA()
	leaf := s.Issue(key.Public(), nil)
	stranger := s.Issue(key.Public(), nil)
	if c, err := hsm.ReadChain(s.WriteChain("good.pem", leaf, ca)); err != nil || len(c) != 2 {
		t.Errorf("a good chain: %d certificates, %v", len(c), err)
	}
	privateKey, err := os.ReadFile(filepath.Join(s.Dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		path := filepath.Join(s.Dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ path, want string }{
		"no file":          {filepath.Join(s.Dir, "nowhere.pem"), "no such file"},
		"no certificate":   {write("text.pem", []byte("hello")), "holds no PEM certificate"},
		"a private key":    {write("key.pem", privateKey), "holds a private key"},
		"wrong order":      {s.WriteChain("order.pem", ca, leaf), "did not issue"},
		"a stranger in it": {s.WriteChain("stranger.pem", leaf, stranger), "did not issue"},
		"a large file":     {write("large.pem", make([]byte, 300<<10)), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := hsm.ReadChain(c.path); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestChainFromToken_TakesTheNewestValid(t *testing.T) {
	s := hsmtest.New(t)
	public := s.Public("ec", "02")
	now := time.Now()
	newest := s.Issue(public, nil)
	s.WriteCertificate("newest", "02", newest)
	s.WriteCertificate("expired", "02", s.Issue(public, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-30*time.Second), now.Add(-time.Second) }))
	s.WriteCertificate("future", "02", s.Issue(public, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }))
	token := up(t, configOf(s))
	c, err := find(t, token, "pkcs11:object=ec").ChainFromToken(now)
	if err != nil {
		t.Fatal(err)
	}
	// The certificate that softhsm-init.sh made is as valid and a moment newer.
	if c[0].NotBefore.After(now) || c[0].NotAfter.Before(now) {
		t.Errorf("chose one that is not valid: %s to %s", c[0].NotBefore, c[0].NotAfter)
	}
	s.GenerateKey("bare", "09", "EC:prime256v1")
	if _, err := find(t, up(t, configOf(s)), "pkcs11:object=bare").ChainFromToken(now); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("a key without a certificate: %v", err)
	}
}
