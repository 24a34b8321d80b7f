package hsm_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
	"sallyport/hsm/signer"
	"sallyport/hsm/wire"
)

// The test binary is its own signer process, as sallyport is.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "signer" {
		if err := signer.Main(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// logBuffer collects logs, for tests that look into them.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func configOf(s *hsmtest.Token) hsm.Config {
	return hsm.Config{
		Name: "edge",
		Settings: wire.Settings{
			Module: s.Module, Label: "edge", PIN: "file:" + s.PINFile, Sessions: 4,
		},
		Environment: s.Environment,
		Dir:         s.Dir,
	}
}

// start runs a token until the test ends.
func start(t *testing.T, c hsm.Config) (*hsm.Token, *logBuffer) {
	t.Helper()
	logs := new(logBuffer)
	token := hsm.NewToken(c, slog.New(slog.NewTextHandler(logs, nil)), hsm.NewMetrics(prometheus.NewRegistry()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		token.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if t.Failed() {
			t.Logf("logs:\n%s", logs)
		}
	})
	return token, logs
}

func up(t *testing.T, c hsm.Config) *hsm.Token {
	t.Helper()
	token, _ := start(t, c)
	if err := token.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return token
}

func uri(t testing.TB, text string) hsm.URI {
	t.Helper()
	u, err := hsm.ParseURI(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// siteOf is what a site of one entry serves from one token.
func siteOf(t *testing.T, token *hsm.Token, entries ...hsm.Entry) *hsm.Certificates {
	t.Helper()
	c, err := addSite(t, token, entries...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func addSite(t *testing.T, token *hsm.Token, entries ...hsm.Entry) (*hsm.Certificates, error) {
	t.Helper()
	r := hsm.NewKeyring([]*hsm.Token{token}, time.Hour, slog.New(slog.DiscardHandler))
	c, problems := r.Add(t.Context(), "www", entries, time.Now())
	if len(problems) > 0 {
		return nil, problems[0]
	}
	return c, nil
}

func find(t *testing.T, token *hsm.Token, name string) *hsm.Key {
	t.Helper()
	keys, _, err := hsm.FindKeys([]*hsm.Token{token}, uri(t, name))
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 1 {
		t.Fatalf("%d keys match %s", len(keys), name)
	}
	return keys[0]
}

func TestKey_SignsAsACryptoSigner(t *testing.T) {
	token := up(t, configOf(hsmtest.New(t)))
	digest := func(h crypto.Hash) []byte {
		hash := h.New()
		hash.Write([]byte("message"))
		return hash.Sum(nil)
	}
	rsaKey, ecKey := find(t, token, "pkcs11:token=edge;object=rsa"), find(t, token, "pkcs11:id=%02")
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		sig, err := rsaKey.Sign(rand.Reader, digest(h), h)
		if err != nil {
			t.Fatal(err)
		}
		if err := rsa.VerifyPKCS1v15(rsaKey.Public().(*rsa.PublicKey), h, digest(h), sig); err != nil {
			t.Errorf("PKCS#1 v1.5 with %s: %v", h, err)
		}
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
		if sig, err = rsaKey.Sign(rand.Reader, digest(h), opts); err != nil {
			t.Fatal(err)
		}
		if err := rsa.VerifyPSS(rsaKey.Public().(*rsa.PublicKey), h, digest(h), sig, opts); err != nil {
			t.Errorf("PSS with %s: %v", h, err)
		}
		if sig, err = ecKey.Sign(rand.Reader, digest(h), h); err != nil {
			t.Fatal(err)
		}
		if !ecdsa.VerifyASN1(ecKey.Public().(*ecdsa.PublicKey), digest(h), sig) {
			t.Errorf("ECDSA with %s does not verify", h)
		}
	}
	if _, err := rsaKey.Sign(nil, digest(crypto.SHA256), &rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256}); err == nil {
		t.Error("a salt of another length than the hash was signed")
	}
	if _, err := ecKey.Sign(nil, digest(crypto.SHA256)[:31], crypto.SHA256); err == nil {
		t.Error("a digest of 31 bytes was signed as SHA-256")
	}
}

func TestKey_P384(t *testing.T) {
	s := hsmtest.New(t)
	s.GenerateKey("p384", "03", "EC:secp384r1")
	token := up(t, configOf(s))
	k := find(t, token, "pkcs11:object=p384")
	s.WriteCertificate("p384", "03", s.Issue(k.Public(), nil))
	if err := token.Rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	certs := siteOf(t, token, hsm.Entry{Key: uri(t, "pkcs11:object=p384")})
	if got := certs.Pairs()[0][0].Key.Type(); got != "P-384" {
		t.Errorf("serves a key of type %s", got)
	}
	if k.Type() != "P-384" {
		t.Errorf("type %s", k.Type())
	}
}

func TestKey_ManySignaturesAtOnce(t *testing.T) {
	k := find(t, up(t, configOf(hsmtest.New(t))), "pkcs11:object=ec")
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 20 {
				digest := sha256.Sum256(fmt.Appendf(nil, "%d/%d", i, j))
				sig, err := k.Sign(nil, digest[:], crypto.SHA256)
				if err != nil {
					t.Error(err)
					return
				}
				if !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], sig) {
					t.Error("got another digest's signature")
				}
			}
		})
	}
	wg.Wait()
}

// signerPID finds the process of the token's signer among this process's children.
func signerPID(t *testing.T) int {
	t.Helper()
	for _, pid := range children(t) {
		return pid
	}
	t.Fatal("no signer process")
	return 0
}

// children are the signer processes of this process, which may have a token's
// server for a child as well.
func children(t testing.TB) []int {
	t.Helper()
	var pids []int
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(b)) {
			var pid int
			if _, err := fmt.Sscan(field, &pid); err == nil && isSigner(pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// isSigner is false for a process that has ended and is not reaped yet.
func isSigner(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && string(b) == "sallyport\x00signer\x00"
}

func TestToken_SignsAgainAfterItsProcessIsKilled(t *testing.T) {
	token := up(t, configOf(hsmtest.New(t)))
	k := find(t, token, "pkcs11:object=ec")
	digest := sha256.Sum256([]byte("message"))
	first := signerPID(t)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// The first new start is at once, and a signature waits for it.
	if _, err := k.Sign(nil, digest[:], crypto.SHA256); err != nil {
		t.Errorf("a signature right after the kill: %v", err)
	}
	if second := signerPID(t); second == first {
		t.Error("it is still the same process")
	}
}

func TestToken_ReplacesAProcessThatHangs(t *testing.T) {
	c := configOf(hsmtest.New(t))
	c.SignTimeout = 500 * time.Millisecond
	token := up(t, c)
	k := find(t, token, "pkcs11:object=ec")
	digest := sha256.Sum256([]byte("message"))
	stopped := signerPID(t)
	if err := syscall.Kill(stopped, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// It is lost on the stopped process, and made by the one that replaces it.
	if _, err := k.Sign(nil, digest[:], crypto.SHA256); err != nil {
		t.Errorf("no signature: %v", err)
	}
	eventually(t, "the stopped process is gone", func() bool { return !slices.Contains(children(t), stopped) })
	if signerPID(t) == stopped {
		t.Error("the stopped process was not replaced")
	}
}

// eventually waits for a condition, with patience for the machine.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 30s: %s", what)
		}
	}
}

func TestToken_AHandshakeThatEndsStopsWaiting(t *testing.T) {
	token := up(t, configOf(hsmtest.New(t)))
	k := find(t, token, "pkcs11:object=ec")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	digest := sha256.Sum256([]byte("message"))
	if _, err := k.SignContext(ctx, digest[:], crypto.SHA256); err == nil {
		t.Error("signed for a handshake that was over")
	}
	if _, err := k.Sign(nil, digest[:], crypto.SHA256); err != nil {
		t.Errorf("the next one: %v", err)
	}
}
