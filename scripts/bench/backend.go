package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// backends are what all servers forward to.
type backends struct {
	web, sink string // addresses
	processes []*process

	mu    sync.Mutex
	looks int64 // requests of ours that the web's counter has counted
}

var (
	hello    = strings.Repeat("hello, ", 9) + "!" // the small answer: 64 bytes
	bodySize = 1 << 20                            // of an upload or download
)

// farBodySize is that of a body that is sent over a line.
const farBodySize = 30_000_000

// Paths that every server forwards.
const (
	helloPath    = "/"
	downloadPath = "/files/body"
	uploadPath   = "/sink/upload"
	seePath      = "/sink/see"
	echoPath     = "/sink/echo"

	farDownloadPath = "/files/far"
	// farUploadPath has the same answer as uploadPath. nginx gathers the body before it
	// forwards it, as it does by itself: then it opens larger windows.
	farUploadPath = "/sink/far"
	slowPath      = "/sink/slow"
)

// backendSetup is what nginx's configuration as a backend is made of.
type backendSetup struct {
	setup
	Hello string
}

func startBackends(dir string) (*backends, error) {
	b := &backends{}
	var err error
	if b.web, err = onFreeAddress(func(address string) (string, error) { return address, b.startWeb(dir, address) }); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if b.sink, err = onFreeAddress(func(address string) (string, error) { return address, b.startSink(dir, address) }); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

func (b *backends) startWeb(dir, address string) error {
	home := filepath.Join(dir, "backend")
	if err := os.MkdirAll(filepath.Join(home, "files"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, "files", "body"), bytes.Repeat([]byte("x"), bodySize), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, "files", "far"), bytes.Repeat([]byte("x"), farBodySize), 0o600); err != nil {
		return err
	}
	config := filepath.Join(home, "nginx.conf")
	if err := writeTemplate("backend.conf", config, backendSetup{setup{Dir: home, Address: address}, hello}); err != nil {
		return err
	}
	args := []string{"nginx", "-p", home, "-e", filepath.Join(home, "error.log"), "-c", config}
	return b.start(command{args: args}, filepath.Join(home, "output.log"), "http://"+address+helloPath)
}

// startSink starts the sink in a process of its own, so that the load's
// goroutines and its do not wait for each other.
func (b *backends) startSink(dir, address string) error {
	return b.start(command{args: []string{"/proc/self/exe", sinkCommand, address}},
		filepath.Join(dir, "sink.log"), "http://"+address+sinkCountPath)
}

func (b *backends) start(c command, log, url string) error {
	p, err := startProcess(c, log)
	if err != nil {
		return err
	}
	err = p.waitUntil(func() error {
		_, err := fetch(context.Background(), url)
		return err
	})
	if err != nil {
		return errors.Join(err, p.stop())
	}
	b.processes = append(b.processes, p)
	return nil
}

func (b *backends) stop() error {
	var err error
	for _, p := range b.processes {
		err = errors.Join(err, p.stop())
	}
	return err
}

var stubStatus = regexp.MustCompile(`requests\s+\d+ \d+ (\d+)`)

// webCount is how many requests of others the web has got.
func (b *backends) webCount(ctx context.Context) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, err := fetch(ctx, "http://"+b.web+"/status")
	if err != nil {
		return 0, err
	}
	b.looks++
	m := stubStatus.FindSubmatch(body)
	if m == nil {
		return 0, fmt.Errorf("the backend's status reads %q", body)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	return n - b.looks, err
}

// sinkCount is how many uploads the sink has taken whole.
func (b *backends) sinkCount(ctx context.Context) (int64, error) {
	body, err := fetch(ctx, "http://"+b.sink+sinkCountPath)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(body), 10, 64)
}

// fetch gets a page of a backend, on no server's way.
func fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return body, err
}
