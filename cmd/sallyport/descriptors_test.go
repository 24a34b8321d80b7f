package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sallyport/configs"
	"sallyport/hsm/hsmtest"
)

func TestFit_LeavesFilesForBackends(t *testing.T) {
	c := &configs.Config{
		HSM:       configs.HSM{Tokens: []configs.Token{{Processes: 2}, {Processes: 2}}},
		Listeners: []configs.Listener{{Limits: configs.Limits{Connections: 10000}}},
		Redirects: []configs.Redirect{{Limits: configs.Limits{Connections: 5000}}},
	}
	const own = ownFiles + 4*signerFiles
	for _, tc := range []struct {
		files               uint64
		listener, redirects int
	}{
		{files: 1 << 63, listener: 10000, redirects: 5000},
		{files: own + 20000, listener: 10000, redirects: 5000},
		{files: own + 19996, listener: 9998, redirects: 4999},
		{files: own + 4000, listener: 2000, redirects: 1000},
		{files: own, listener: 1, redirects: 1},
		{files: 0, listener: 1, redirects: 1},
	} {
		of := fit(c, tc.files)
		if l, r := of(10000), of(5000); l != tc.listener || r != tc.redirects {
			t.Errorf("%d files: %d and %d connections, want %d and %d", tc.files, l, r, tc.listener, tc.redirects)
		}
	}
}

// Clients take as many connections as they can have: there are still files for backends,
// and no backend is blamed.
func TestServe_ClientsLeaveFilesForBackends(t *testing.T) {
	t.Parallel()
	token := hsmtest.NewSoftHSM(t)
	token.GenerateKey("edge", "11", "EC:prime256v1")
	token.WriteCertificate("edge", "11", token.Issue(token.Public("edge", "11"), nil))
	roots, err := rootsOf(token.Dir)
	if err != nil {
		t.Fatal(err)
	}
	config := pipedConfig(t, token, `  - {name: ec, hosts: [ec.sallyport.test], certificates: [{key: "pkcs11:object=edge"}], routes: [{pool: web}]}`)
	const files = 200
	const room = (files - ownFiles - signerFiles) * 3 / 4
	s, err := startServedAs(func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, files), cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
	}, t.TempDir(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	// The connection to the backend is in use by one request when another one comes. That of
	// the client waits for nothing that it should say, and has no other take its place.
	h2 := clientOf(s.clients, &tls.Config{RootCAs: roots, ServerName: "ec.sallyport.test"})
	h2.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	stalled, err := h2.Get("https://ec.sallyport.test/stall")
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Body.Close()
	for range files {
		c, err := net.Dial("tcp", s.clients)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	open := func() string { return pageOf(t, s.admin, "/metrics") }
	want := fmt.Sprintf("sallyport_connections{listener=\"127.0.0.1:0\"} %d\n", room)
	for deadline := time.Now().Add(patience); !strings.Contains(open(), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s in\n%s", want, open())
		}
	}
	res, err := h2.Get("https://ec.sallyport.test/hello")
	if err != nil {
		t.Fatal(err)
	}
	if body := readAll(res); res.StatusCode != 200 || !strings.HasPrefix(body, "backend-") {
		t.Errorf("%s: %s", res.Status, body)
	}
	if status := pageOf(t, s.admin, "/status"); !strings.Contains(status, `"failures": 0`) {
		t.Errorf("a backend was blamed:\n%s", status)
	}
	text, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	if warning := fmt.Sprintf(`"setting":"listeners[0].limits.connections","warning":"%d of 10000 connections can be had: there can be %d open files`, room, files); !strings.Contains(string(text), warning) {
		t.Errorf("not warned: %s in\n%s", warning, text)
	}
	stalled.Body.Close() // it would be waited for
	h2.CloseIdleConnections()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// pageOf is a page of the admin listener.
func pageOf(t *testing.T, admin, path string) string {
	t.Helper()
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get("http://" + admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return readAll(res)
}
