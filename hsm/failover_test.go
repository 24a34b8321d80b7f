package hsm_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
	"sallyport/hsm/wire"
)

func TestToken_WithTwoProcessesOneGoesOn(t *testing.T) {
	c := configOf(hsmtest.New(t))
	c.Processes = 2
	token := up(t, c)
	eventually(t, "both processes are up", func() bool { state, _ := token.State(); return state == hsm.Up })
	k := find(t, token, "pkcs11:object=ec")
	digest := sha256.Sum256([]byte("message"))
	ctx, cancel := context.WithCancel(t.Context())
	var signing sync.WaitGroup
	for range 4 {
		signing.Go(func() {
			for ctx.Err() == nil {
				if _, err := k.Sign(nil, digest[:], crypto.SHA256); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 3 {
		victim := children(t)[0]
		if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is replaced", func() bool {
			// The processes first: a successor is started after the state has
			// changed, so a state read before may be that of the time before.
			now := children(t)
			state, _ := token.State()
			return state == hsm.Up && len(now) == 2 && now[0] != victim && now[1] != victim
		})
	}
	cancel()
	signing.Wait()
}

// twoTokens are two tokens with their own key and certificate "ec" for one site.
func twoTokens(t *testing.T) (tokens [2]*hsm.Token, made [2]*hsmtest.Token, site *hsm.Certificates) {
	t.Helper()
	var entries []hsm.Entry
	made = [2]*hsmtest.Token{hsmtest.New(t), hsmtest.NewSoftHSM(t)} // vendors' serials may all be the same
	for i, name := range []string{"one", "two"} {
		c := configOf(made[i])
		c.Name = name
		tokens[i] = up(t, c)
		// Both tokens have the label edge; their serials differ.
		entries = append(entries, hsm.Entry{Key: uri(t, "pkcs11:object=ec;serial="+tokens[i].Inventory().Token.Serial)})
	}
	r := hsm.NewKeyring(tokens[:], time.Hour, slog.New(slog.DiscardHandler))
	site, problems := r.Add(t.Context(), "www", entries, time.Now())
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	return tokens, made, site
}

// kill kills all signer processes until the token has noticed.
func kill(t *testing.T, token *hsm.Token) {
	t.Helper()
	eventually(t, "the token notices", func() bool {
		for _, pid := range children(t) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
		}
		state, _ := token.State()
		return state != hsm.Up
	})
}

// sign makes a full TLS handshake with a site and returns its certificate.
func sign(t testing.TB, choose func(*tls.ClientHelloInfo) (*tls.Certificate, error)) (*x509.Certificate, error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	server := tls.Server(far, &tls.Config{GetCertificate: choose})
	served := make(chan error, 1)
	go func() { served <- server.HandshakeContext(t.Context()) }()
	// Which certificate it is, the tests compare themselves; that its key signed
	// is checked all the same.
	client := tls.Client(near, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	err := client.HandshakeContext(t.Context())
	if serverErr := <-served; serverErr != nil {
		return nil, serverErr
	}
	if err != nil {
		return nil, err
	}
	return client.ConnectionState().PeerCertificates[0], nil
}

func TestCertificates_TheOtherTokenTakesOver(t *testing.T) {
	tokens, pins, site := twoTokens(t)
	first, err := sign(t, site.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	// The token that served goes: its PIN is wrong when its process is replaced.
	served := 0
	if entry := site.Pairs()[1][0]; entry.Leaf().Equal(first) {
		served = 1
	}
	if err := os.WriteFile(pins[served].PINFile, []byte("77778888"), 0o600); err != nil {
		t.Fatal(err)
	}
	kill(t, tokens[served])
	eventually(t, "the token is locked", func() bool { state, _ := tokens[served].State(); return state == hsm.Locked })
	// Its process was killed as well, perhaps more than once.
	eventually(t, "the other token is up", func() bool { state, _ := tokens[1-served].State(); return state == hsm.Up })
	for range 20 {
		leaf, err := sign(t, site.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if leaf.Equal(first) {
			t.Fatal("the certificate of the token that is down is still served")
		}
	}
	if err := site.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

// The PIN of a token that runs is changed under it, and its process ends: the
// token is locked, with one try, and the other one serves. Once the PIN is
// mended and the operator says so, it comes back.
func TestToken_LockedUntilTheOperatorSaysSo(t *testing.T) {
	s := hsmtest.New(t)
	token, logs := start(t, configOf(s))
	if err := token.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.PINFile, []byte("77778888"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(signerPID(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token is locked", func() bool { state, _ := token.State(); return state == hsm.Locked })
	k := find(t, token, "pkcs11:object=ec")
	digest := sha256.Sum256([]byte("message"))
	if _, err := k.Sign(nil, digest[:], crypto.SHA256); !errors.Is(err, hsm.ErrDown) {
		t.Errorf("a locked token signs: %v", err)
	}
	eventually(t, "no process is left", func() bool { return len(children(t)) == 0 })
	if err := os.WriteFile(s.PINFile, []byte(s.PIN), 0o600); err != nil {
		t.Fatal(err)
	}
	token.Unlock() // also where the token shows that it has counted a wrong PIN
	eventually(t, "the token is up", func() bool { state, _ := token.State(); return state == hsm.Up })
	if _, err := k.Sign(nil, digest[:], crypto.SHA256); err != nil {
		t.Errorf("%v\n%s", err, logs)
	}
}

// Both processes end within moments of each other: a signature that is lost
// with the first, and again with the second, is made by their successors.
func TestToken_SignsThoughBothItsProcessesAreKilled(t *testing.T) {
	c := configOf(hsmtest.New(t))
	c.Processes = 2
	token := up(t, c)
	k := find(t, token, "pkcs11:object=ec")
	digest := sha256.Sum256([]byte("message"))
	for range 3 {
		eventually(t, "both processes are up", func() bool {
			now := len(children(t))
			state, _ := token.State()
			return state == hsm.Up && now == 2
		})
		var signing sync.WaitGroup
		for range 8 {
			signing.Go(func() {
				for range 20 {
					if _, err := k.Sign(nil, digest[:], crypto.SHA256); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for _, pid := range children(t) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
		signing.Wait()
	}
}

// A key was made since one of the processes read the token, and another one has
// read it since: the one that does not know the key fails no signature.
func TestToken_OneProcessKnowsAKeyThatTheOtherDoesNot(t *testing.T) {
	s := hsmtest.New(t)
	c := configOf(s)
	c.Processes = 2
	token := up(t, c)
	eventually(t, "both processes are up", func() bool { state, _ := token.State(); return state == hsm.Up })
	s.GenerateKey("new", "07", "EC:prime256v1")
	if err := syscall.Kill(signerPID(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new key is known", func() bool {
		return slices.ContainsFunc(token.Inventory().Keys, func(k wire.Key) bool { return k.Label == "new" })
	})
	k := find(t, token, "pkcs11:object=new")
	digest := sha256.Sum256([]byte("message"))
	for range 20 {
		if _, err := k.Sign(nil, digest[:], crypto.SHA256); err != nil {
			t.Fatal(err)
		}
	}
}

// faultySite is a site of two tokens, both of which fail on command.
type faultySite struct {
	*hsm.Certificates
	keyring *hsm.Keyring
	faulty  []*hsmtest.Faulty
}

func newFaultySite(t *testing.T) *faultySite {
	t.Helper()
	var entries []hsm.Entry
	var tokens []*hsm.Token
	s := new(faultySite)
	for _, name := range []string{"one", "two"} {
		made := hsmtest.NewSoftHSM(t) // other vendors' serials may all be the same
		f := hsmtest.NewFaulty(t, made)
		c := configOf(made)
		c.Name, c.Settings.Module, c.Environment = name, f.Module, f.Environment
		c.Processes, c.SignTimeout = 2, 500*time.Millisecond
		token := up(t, c)
		eventually(t, "both processes are up", func() bool { state, _ := token.State(); return state == hsm.Up })
		tokens = append(tokens, token)
		s.faulty = append(s.faulty, f)
		entries = append(entries, hsm.Entry{Key: uri(t, "pkcs11:object=ec;serial="+token.Inventory().Token.Serial)})
	}
	s.keyring = hsm.NewKeyring(tokens, time.Hour, slog.New(slog.DiscardHandler))
	var problems []*hsm.EntryError
	if s.Certificates, problems = s.keyring.Add(t.Context(), "www", entries, time.Now()); len(problems) > 0 {
		t.Fatal(problems[0])
	}
	return s
}

// A token with two processes hangs, and the site has another token: a handshake
// waits for one of the processes, not for one after the other.
func TestCertificates_AHandshakeWaitsForOneHangOnly(t *testing.T) {
	site := newFaultySite(t)
	for _, f := range site.faulty {
		f.ResetStats()
		f.Hang("C_Sign")
		f.Hang("C_Initialize") // no successor comes to its test signature
	}
	// crypto/tls does not wrap the error.
	if _, err := sign(t, site.Certificate); err == nil || !strings.Contains(err.Error(), hsm.ErrTimeout.Error()) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
	asked := 0
	for _, f := range site.faulty {
		asked += f.Stats()["C_SignInit"].Made
	}
	if asked != 1 {
		t.Errorf("%d processes were asked", asked)
	}
}

// While a handshake waits for its signature, the keyring looks at the tokens
// again and has new pairs served. The signature fails: the next handshake must
// know that of the new pair.
func TestCertificates_DoubtOutlivesANewLookAtTheTokens(t *testing.T) {
	site := newFaultySite(t)
	ctx, cancel := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	looking.Go(func() { _ = site.keyring.Run(ctx) })
	defer looking.Wait()
	defer cancel()
	for _, f := range site.faulty {
		f.Return("C_Sign", hsmtest.CKR_KEY_FUNCTION_NOT_PERMITTED, 0)
	}
	var chosen []*x509.Certificate
	for range 2 {
		_, err := sign(t, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, err := site.Certificate(hello)
			if err != nil {
				return nil, err
			}
			chosen = append(chosen, c.Leaf)
			before := site.Pairs()[0][0]
			site.keyring.Rescan()
			eventually(t, "there are new pairs", func() bool { return site.Pairs()[0][0] != before })
			return c, nil
		})
		if err == nil {
			t.Fatal("it signed")
		}
	}
	if chosen[0].Equal(chosen[1]) {
		t.Error("the certificate whose signature has just failed was chosen again")
	}
}
