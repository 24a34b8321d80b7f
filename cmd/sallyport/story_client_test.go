package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"
)

// curl runs the real one, silent but for errors, with every name leading to
// $ADDR and the token's CA trusted. Like exec, it fails the story if curl
// fails, or does not after a !.
func (w *world) curl(ts *testscript.TestScript, neg bool, args []string) {
	all := append([]string{"-sS", "--max-time", "60", "--cacert", ts.Getenv("CA"), "--connect-to", "::" + ts.Getenv("ADDR")}, args...)
	err := ts.Exec("curl", all...)
	if (err != nil) != neg {
		ts.Fatalf("curl %s: %v", strings.Join(args, " "), err)
	}
}

func (w *world) p11(ts *testscript.TestScript, _ bool, args []string) { w.token.Tool(args...) }

// issue writes FILE, a certificate for a key of the token.
func (w *world) issue(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: issue KEY ID FILE [CHANGE]")
	}
	change := func(*x509.Certificate) {}
	if len(args) > 3 {
		switch args[3] {
		case "expired":
			change = func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
			}
		case "future":
			change = func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }
		case "client":
			change = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
		default:
			ts.Fatalf("no change %q", args[3])
		}
	}
	certificate := w.token.Issue(w.token.Public(args[0], args[1]), change)
	b, err := os.ReadFile(w.token.WriteChain("issued.pem", certificate))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]+".der"), certificate.Raw, 0o600))
	ts.Setenv("SERIAL", fmt.Sprintf("%x", certificate.SerialNumber))
}

// secrets greps files for the token's PIN.
func (w *world) secrets(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		if text := ts.ReadFile(name); strings.Contains(text, w.token.PIN) {
			ts.Fatalf("%s shows the PIN", name)
		}
	}
}

// waitFor waits until a file, or a page of the admin listener, has the text.
func (w *world) waitFor(ts *testscript.TestScript, _ bool, args []string) {
	read := func() string { return ts.ReadFile(args[0]) }
	if strings.HasPrefix(args[0], "http://") {
		read = func() string {
			answer, err := http.Get(args[0])
			if err != nil {
				return err.Error()
			}
			defer answer.Body.Close()
			return fmt.Sprintf("%d\n%s", answer.StatusCode, readAll(answer))
		}
	}
	deadline := time.Now().Add(patience)
	for !strings.Contains(read(), args[1]) {
		if time.Now().After(deadline) {
			ts.Fatalf("%s lacks %q:\n%s", args[0], args[1], read())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *world) roots(ts *testscript.TestScript) *x509.CertPool {
	roots, err := rootsOf(w.token.Dir)
	ts.Check(err)
	return roots
}

// webSocket opens a WebSocket, and sees some messages come back.
func (w *world) webSocket(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := clientOf(ts.Getenv("ADDR"), &tls.Config{RootCAs: w.roots(ts)})
	defer client.CloseIdleConnections()
	c, _, err := websocket.Dial(ctx, args[0], &websocket.DialOptions{HTTPClient: client})
	if (err != nil) != neg {
		ts.Fatalf("websocket %s: %v", args[0], err)
	}
	if err != nil {
		return
	}
	defer c.CloseNow()
	for _, size := range []int{1, 1000, 30000} {
		message := strings.Repeat("x", size)
		ts.Check(c.Write(ctx, websocket.MessageText, []byte(message)))
		_, got, err := c.Read(ctx)
		ts.Check(err)
		if string(got) != message {
			ts.Fatalf("%d bytes came back as %d", size, len(got))
		}
	}
	ts.Check(c.Close(websocket.StatusNormalClosure, ""))
}

// readAll is the body as text; one that breaks off shows the error instead.
func readAll(r *http.Response) string {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
