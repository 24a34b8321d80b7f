package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
)

// h2load makes requests over HTTP/2 on so many connections, with so many
// streams at once on each.
func (b *bench) h2load(connections, streams int, path string) load {
	t := &tool{connections: connections, count: b.backends.webCount, check: checkH2load}
	t.command = func(i *instance) []string { return b.h2loadCommand(i, connections, streams, path) }
	return t
}

// h2loadUpload is h2load with bodies for the sink.
func (b *bench) h2loadUpload(connections, streams int) load {
	t := &tool{connections: connections, count: b.backends.sinkCount, check: checkH2load}
	t.command = func(i *instance) []string {
		return append(b.h2loadCommand(i, connections, streams, uploadPath), "-d", b.uploadFile())
	}
	return t
}

func (b *bench) h2loadCommand(i *instance, connections, streams int, path string) []string {
	return []string{"h2load", "-t1", "-c", strconv.Itoa(connections), "-m", strconv.Itoa(streams),
		"-D", strconv.FormatInt(b.pacing.total().Milliseconds(), 10) + "ms", "https://" + i.address + path}
}

func (b *bench) uploadFile() string { return filepath.Join(b.dir, "upload.body") }

func (b *bench) farBody() string { return filepath.Join(b.dir, "far.body") }

var (
	h2loadOutcome  = regexp.MustCompile(`(?m)^requests: .*$`)
	h2loadDone     = regexp.MustCompile(`(?m)^requests: .* (\d+) done`)
	h2loadFailed   = regexp.MustCompile(`(?m)^requests: .* (\d+) failed`)
	h2loadErrored  = regexp.MustCompile(`(?m)^requests: .* (\d+) errored`)
	h2loadProtocol = regexp.MustCompile(`(?m)^Application protocol: h2$`)
	h2loadGood     = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx`)
)

func checkH2load(output []byte) error {
	if !h2loadProtocol.Match(output) {
		return fmt.Errorf("HTTP/2 was not agreed: %q", output)
	}
	done, ok := number(output, h2loadDone)
	failed, _ := number(output, h2loadFailed)
	errored, _ := number(output, h2loadErrored)
	good, _ := number(output, h2loadGood)
	if !ok || done == 0 || failed > 0 || errored > 0 || good < done {
		return fmt.Errorf("%s, of which %d with a status of 2xx", h2loadOutcome.Find(output), good)
	}
	return nil
}
