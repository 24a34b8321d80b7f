package main

//lint:file-ignore SA1019 net/http's ClientConn dials by itself; what is measured here begins with a connection that stands.

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// What is asked over a line.
const (
	pageRequests = 100 // on one connection of HTTP/2, all at once
	pages        = 3
	firstBytes   = 16 // connections whose first byte is waited for
	firstAtOnce  = 4
	farTransfers = 3
	longEnough   = 5 * time.Second // after this much of a sample nothing is asked again
)

// milliseconds is the measure of what is timed over a line.
var milliseconds = []measure{{Name: "time", Unit: "ms, median", Charted: true}}

// distant runs ask several times with an instance that is a line away, each time on a
// connection of its own, and takes the median of what it returns.
func distant(times int, ask func(context.Context, *bench, *instance) (time.Duration, error)) func(context.Context, *bench, *instance) (values, error) {
	return func(ctx context.Context, b *bench, i *instance) (values, error) {
		l, err := newLine(i.address)
		if err != nil {
			return nil, err
		}
		defer l.close()
		far := *i
		far.address = l.address
		var taken []time.Duration
		began := time.Now()
		for len(taken) < times && time.Since(began) < longEnough {
			d, err := ask(ctx, b, &far)
			if err != nil {
				return nil, err
			}
			taken = append(taken, d)
		}
		return values{"time": inMilliseconds(middle(taken))}, nil
	}
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func middle(taken []time.Duration) time.Duration {
	slices.Sort(taken)
	return taken[len(taken)/2]
}

// page is how long it takes until a connection that has just been opened has the
// responses to all requests of a page, for each of which the backend takes slowTime.
func page(ctx context.Context, _ *bench, i *instance) (time.Duration, error) {
	config := i.clientTLS("ec")
	config.NextProtos = []string{"h2"}
	raw, err := dialTLS(ctx, i.address, config)
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	c, err := new(http2.Transport).NewClientConn(raw)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var w workers
	began := time.Now()
	w.run(ctx, pageRequests, func(ctx context.Context, _ int) error { return i.pageRequest(ctx, c) })
	w.wait.Wait()
	taken := time.Since(began)
	return taken, w.stop()
}

func (i *instance) pageRequest(ctx context.Context, c *http2.ClientConn) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+i.token.pair("ec").Host+slowPath, nil)
	if err != nil {
		return err
	}
	response, err := c.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || string(body) != hello) {
		err = fmt.Errorf("%s with %d bytes", response.Status, len(body))
	}
	return err
}

// transfer is how long curl takes from when it may send its request to the end of a
// large body, in this direction by this protocol.
func transfer(protocol string, upload bool) func(context.Context, *bench, *instance) (time.Duration, error) {
	return func(ctx context.Context, b *bench, i *instance) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*patience)
		defer cancel()
		args := []string{"-sS", "--insecure", "--no-progress-meter", "--fail", "--http" + protocol,
			"-w", "\n%{http_version} %{size_download} %{time_pretransfer} %{time_total}"}
		want := "" // on standard output
		if upload {
			// Waiting for 100 (Continue) would time that.
			args = append(args, "-H", "Expect:", "-T", b.farBody(), "https://"+i.address+farUploadPath)
			want = strconv.Itoa(farBodySize) // the sink says how many it got
		} else {
			args = append(args, "-o", "/dev/null", "https://"+i.address+farDownloadPath)
		}
		out, err := exec.CommandContext(ctx, "curl", args...).CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("curl: %w: %s", err, out)
		}
		body, line, _ := strings.Cut(string(out), "\n")
		if body != want {
			return 0, fmt.Errorf("the backend got %q bytes", body)
		}
		size := farBodySize
		if upload {
			size = len(body)
		}
		return curlTime(line, protocol, size)
	}
}

// curlTime reads the line that transfer has curl write at its end.
func curlTime(line, protocol string, size int) (time.Duration, error) {
	words := strings.Fields(line)
	if len(words) != 4 || words[0] != protocol || words[1] != strconv.Itoa(size) {
		return 0, fmt.Errorf("curl says %q, not HTTP/%s and %d bytes", line, protocol, size)
	}
	ready, err := strconv.ParseFloat(words[2], 64)
	if err != nil {
		return 0, err
	}
	over, err := strconv.ParseFloat(words[3], 64)
	if err != nil {
		return 0, err
	}
	return time.Duration((over - ready) * float64(time.Second)), nil
}

// firstByte is how long it takes from the begin of a connection to the first byte of
// the response to its first request.
func firstByte(resumed bool) func(context.Context, *bench, *instance) (time.Duration, error) {
	return func(ctx context.Context, _ *bench, i *instance) (time.Duration, error) {
		config := i.clientTLS("ec")
		if resumed {
			if _, err := newSession(ctx, i, config); err != nil {
				return 0, err
			}
		}
		var w workers
		var mu sync.Mutex
		var taken []time.Duration
		w.run(ctx, firstAtOnce, func(ctx context.Context, _ int) error {
			for range firstBytes / firstAtOnce {
				d, err := i.awaitFirstByte(ctx, config, resumed)
				if err != nil {
					return err
				}
				mu.Lock()
				taken = append(taken, d)
				mu.Unlock()
			}
			return nil
		})
		w.wait.Wait()
		if err := w.stop(); err != nil {
			return 0, err
		}
		return middle(taken), nil
	}
}

func (i *instance) awaitFirstByte(ctx context.Context, config *tls.Config, resumed bool) (time.Duration, error) {
	began := time.Now()
	raw, err := dialTLS(ctx, i.address, config)
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	if got := raw.ConnectionState().DidResume; got != resumed {
		return 0, fmt.Errorf("a handshake was resumed: %t", got)
	}
	c := i.clientOn(raw)
	if err := c.send(); err != nil {
		return 0, err
	}
	if _, err := c.reader.Peek(1); err != nil {
		return 0, err
	}
	taken := time.Since(began)
	return taken, c.receive()
}
