package http2

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"sallyport/proxy/message"
)

// transport is net/http's client, in cleartext and over TLS.
func transport(t testing.TB) *http.Transport {
	tr := &http.Transport{
		Protocols:             new(http.Protocols),
		TLSClientConfig:       &tls.Config{InsecureSkipVerify: true},
		ExpectContinueTimeout: patience,
	}
	tr.Protocols.SetUnencryptedHTTP2(true)
	tr.Protocols.SetHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func (f *front) url(path string) string { return "http://" + f.Addr().String() + path }

func get(t testing.TB, tr http.RoundTripper, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestServer_AnswersOverTLS(t *testing.T) {
	f := serve(t, Config{Secure: true}, hello)
	url := fmt.Sprintf("https://localhost:%d/", f.port())
	res, body := get(t, transport(t), request(t, "GET", url, nil))
	if res.StatusCode != 200 || body != "hello, world" || res.ContentLength != 12 {
		t.Errorf("%d %q, length %d", res.StatusCode, body, res.ContentLength)
	}
}

func TestServer_EchoesLargeBodiesOnManyStreams(t *testing.T) {
	f := serve(t, Config{}, echo)
	tr := transport(t)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			want := bytes.Repeat([]byte{byte(i), 'x', byte(i)}, 300_000+i)
			req := request(t, "POST", f.url("/"), io.MultiReader(bytes.NewReader(want))) // of unknown length
			req.Trailer = http.Header{"X-Sum": {fmt.Sprint(i)}}
			res, err := tr.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			got, err := io.ReadAll(res.Body)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d: %d bytes of %d, %v", i, len(got), len(want), err)
			}
			if sum := res.Trailer.Get("X-Sum"); sum != fmt.Sprint(i) {
				t.Errorf("%d: trailer %q", i, sum)
			}
		})
	}
	wg.Wait()
}

func TestServer_GivesTheHeadAsItCame(t *testing.T) {
	var got string
	f := serve(t, Config{}, func(e message.Exchange) {
		r := e.Request()
		got = fmt.Sprintf("%s %s %s %d %v %v", r.Method, r.Authority, r.Path, r.Length, r.Trailers, r.Expects)
		for _, f := range r.Fields {
			got += fmt.Sprintf("|%s=%s", f.Name, f.Value)
		}
		hello(e)
	})
	req := request(t, "PUT", f.url("/a/b?c=d"), strings.NewReader("body"))
	req.Host = "example.com:8080"
	req.Header = http.Header{
		"Cookie": {"a=b; c=d; e=f"}, "Te": {"trailers"}, "User-Agent": nil, "Accept-Encoding": {"br"}, "X-Big": {strings.Repeat("x", 40_000)},
	}
	get(t, transport(t), req)
	for _, want := range []string{
		"PUT example.com:8080 /a/b?c=d 4 true false|", "|cookie=a=b; c=d; e=f", "|accept-encoding=br", "|x-big=xxx",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%.200q lacks %q", got, want)
		}
	}
	if strings.Count(got, "cookie") != 1 {
		t.Errorf("cookie in crumbs: %.200q", got)
	}
}

func TestServer_TellsWhenTheClientGivesUp(t *testing.T) {
	gone := make(chan struct{})
	f := serve(t, Config{}, func(e message.Exchange) {
		e.OnGone(func() { close(gone) })
		<-gone
		_, err := e.Body().Read(make([]byte, 1))
		var reset *ResetError
		if !errors.As(err, &reset) || reset.Code != http2.ErrCodeCancel {
			t.Errorf("read after the reset: %v", err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	req := request(t, "POST", f.url("/"), pending{ctx}).WithContext(ctx)
	failed := make(chan error)
	go func() {
		_, err := transport(t).RoundTrip(req)
		failed <- err
	}()
	f.awaitStream(t)
	cancel()
	<-gone
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Whoever takes the function away may use what it touches for something else.
func TestServer_TellsNobodyLate(t *testing.T) {
	begun, over := make(chan struct{}), make(chan struct{})
	f := serve(t, Config{}, func(e message.Exchange) {
		defer close(over)
		close(begun)
		told := make(chan struct{})
		var returned atomic.Bool
		e.OnGone(func() {
			close(told)
			for range 1000 {
				runtime.Gosched()
			}
			returned.Store(true)
		})
		<-told
		if e.OnGone(nil); !returned.Load() {
			t.Error("it was still being told")
		}
	})
	c := f.dial(t)
	c.request(1, true, plain...)
	<-begun
	c.WriteRSTStream(1, http2.ErrCodeCancel)
	<-over
}

// A client may throw away what it has got of a stream that ends with an error.
func TestServer_ResetBehindAWholeAnswerIsNoError(t *testing.T) {
	f := serve(t, Config{}, func(e message.Exchange) {
		answer(e, 413, "too large")
		e.Reset()
	})
	c := f.dial(t)
	c.request(1, false, append(plain[:len(plain):len(plain)], "content-length: 5")...)
	if got := c.await(http2.FrameRSTStream).(*http2.RSTStreamFrame).ErrCode; got != http2.ErrCodeNo {
		t.Errorf("reset with %v", got)
	}
}

// pending is a body of which nothing comes until its context ends.
type pending struct{ ctx context.Context }

func (p pending) Read([]byte) (int, error) {
	<-p.ctx.Done()
	return 0, p.ctx.Err()
}

// awaitStream waits until some connection has a stream.
func (f *front) awaitStream(t testing.TB) {
	t.Helper()
	eventually(t, "a stream", func() bool {
		n := 0
		f.each(func(c *ServerConn) {
			c.mu.Lock()
			n += len(c.streams)
			c.mu.Unlock()
		})
		return n > 0
	})
}

func TestServer_AsksForABodyThatWaits(t *testing.T) {
	f := serve(t, Config{}, hello)
	asked := false
	req := request(t, "POST", f.url("/"), strings.NewReader("body"))
	req.Header.Set("Expect", "100-continue")
	req = req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { asked = true },
	}))
	get(t, transport(t), req)
	if !asked {
		t.Error("no 100")
	}
}

func TestServer_EarlyAnswerEndsTheRequest(t *testing.T) {
	f := serve(t, Config{}, func(e message.Exchange) { answer(e, 413, "too much") })
	pr, pw := io.Pipe()
	defer pw.Close()
	res, body := get(t, transport(t), request(t, "POST", f.url("/"), pr))
	if res.StatusCode != 413 || body != "too much" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

func TestServer_HalfAnAnswerIsReset(t *testing.T) {
	f := serve(t, Config{}, func(e message.Exchange) {
		e.WriteHead(&message.Response{Status: 200, Length: 10}, false)
		e.WriteBody([]byte("half"), true)
	})
	res, err := transport(t).RoundTrip(request(t, "GET", f.url("/"), nil))
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	var se http2.StreamError
	if !errors.As(err, &se) || se.Code != http2.ErrCodeInternal {
		t.Errorf("got %v", err)
	}
}

func TestServer_DrainLosesNoRequest(t *testing.T) {
	release := make(chan struct{})
	f := serve(t, Config{}, func(e message.Exchange) {
		<-release
		hello(e)
	})
	tr := transport(t)
	var answered atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if res, body := get(t, tr, request(t, "GET", f.url("/"), nil)); res.StatusCode == 200 && body == "hello, world" {
				answered.Add(1)
			}
		})
	}
	f.awaitStream(t)
	f.each((*ServerConn).Shutdown)
	close(release)
	wg.Wait()
	if answered.Load() != 10 {
		t.Errorf("%d answered", answered.Load())
	}
	if err := f.ended(t, 1)[0]; err != nil {
		t.Errorf("drained with %v", err)
	}
}

func TestServer_WhatComesAfterTheEndFindsNothing(t *testing.T) {
	var kept message.Exchange
	f := serve(t, Config{}, func(e message.Exchange) {
		if kept == nil {
			kept = e
		}
		hello(e)
	})
	tr := transport(t)
	get(t, tr, request(t, "GET", f.url("/"), nil))
	f.each(func(c *ServerConn) {
		eventually(t, "end of the exchange", func() bool { return kept.Request() == nil })
	})
	kept.Reset()
	kept.OnGone(func() { t.Error("called") })
	if _, err := kept.Body().Read(nil); !errors.Is(err, ErrOver) {
		t.Error(err)
	}
	if err := kept.WriteHead(&message.Response{Status: 200}, true); !errors.Is(err, ErrOver) {
		t.Error(err)
	}
	get(t, tr, request(t, "GET", f.url("/"), nil))
}
