package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// wrk makes requests over HTTP/1.1 on so many connections, each as soon as the
// one before it has been answered.
func (b *bench) wrk(connections int, path string) load {
	t := &tool{connections: connections, endless: true, count: b.backends.webCount, check: checkWrk}
	t.command = func(i *instance) []string { return wrkCommand(i, connections, path) }
	return t
}

// wrkUpload is wrk with bodies for the sink.
func (b *bench) wrkUpload(connections int) load {
	t := &tool{connections: connections, endless: true, count: b.backends.sinkCount, check: checkWrk}
	t.command = func(i *instance) []string {
		return append(wrkCommand(i, connections, uploadPath), "-s", b.uploadScript())
	}
	return t
}

func wrkCommand(i *instance, connections int, path string) []string {
	return []string{"wrk", "-t1", "-c", strconv.Itoa(connections), "-d", "1h", "--timeout", "10s", "https://" + i.address + path}
}

func (b *bench) uploadScript() string { return filepath.Join(b.dir, "upload.lua") }

func (b *bench) writeUploads() error {
	script := fmt.Sprintf("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", %d)\n", bodySize)
	if err := os.WriteFile(b.uploadScript(), []byte(script), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(b.farBody(), make([]byte, farBodySize), 0o600); err != nil {
		return err
	}
	return os.WriteFile(b.uploadFile(), make([]byte, bodySize), 0o600)
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkErrors   = regexp.MustCompile(`(?m)^\s*(Socket errors: .*|Non-2xx or 3xx responses: .*)$`)
)

// checkWrk: wrk exits with 0 whatever happened, and tells of errors only where
// there were some.
func checkWrk(output []byte) error {
	if m := wrkErrors.FindSubmatch(output); m != nil {
		return errors.New(string(m[1]))
	}
	if n, ok := number(output, wrkRequests); !ok || n == 0 {
		return fmt.Errorf("no requests in %q", output)
	}
	return nil
}
