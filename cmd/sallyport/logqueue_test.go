package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// gate is a file whose reader comes and goes: each write waits until it is let, and
// ends as it is told.
type gate struct {
	let chan error

	mu      sync.Mutex
	written strings.Builder
}

func (g *gate) Write(b []byte) (int, error) {
	err := <-g.let
	if err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.written.Write(b)
}

func (g *gate) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.written.String()
}

func newTestQueue(out *gate) *logQueue {
	q := &logQueue{out: out, turn: new(sync.Mutex), told: func(n uint64) []byte { return fmt.Appendf(nil, "%d lost\n", n) }}
	q.start()
	return q
}

// fill writes lines until one is dropped, and returns how many were taken.
func fill(q *logQueue) (taken int) {
	line := []byte(strings.Repeat("x", 1<<10-1) + "\n")
	for before := q.dropped(); q.dropped() == before; taken++ {
		q.Write(line)
	}
	return taken - 1
}

func TestLogQueue_ReaderThatStandsStillCostsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{let: make(chan error)}
		q := newTestQueue(g)
		fmt.Fprint(q, "first\n")
		synctest.Wait() // the first is being written
		taken := fill(q)
		if taken != maxQueued/1024 {
			t.Errorf("%d lines of 1 KiB wait", taken)
		}
		fmt.Fprint(q, "short, but later than one that was dropped\n")
		close(g.let)
		synctest.Wait()
		fmt.Fprint(q, "last\n")
		q.close(t.Context())
		text := g.text()
		if !strings.HasPrefix(text, "first\nxxx") || !strings.HasSuffix(text, "xxx\n2 lost\nlast\n") {
			t.Errorf("written: %.20q … %q", text, text[len(text)-40:])
		}
		if n := strings.Count(text, "\n"); n != taken+3 {
			t.Errorf("%d lines", n)
		}
		if q.dropped() != 2 {
			t.Errorf("%d are counted", q.dropped())
		}
	})
}

func TestLogQueue_ReaderThatIsGoneCostsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{let: make(chan error)}
		q := newTestQueue(g)
		var failed []error
		q.failed = func(err error) { failed = append(failed, err) }
		for range 3 {
			fmt.Fprint(q, "a line\n")
			synctest.Wait()
			g.let <- syscall.EPIPE
			synctest.Wait()
		}
		if q.dropped() != 3 || len(failed) != 1 || !errors.Is(failed[0], syscall.EPIPE) {
			t.Errorf("%d are counted; told of %v", q.dropped(), failed)
		}
		close(g.let) // somebody reads again
		fmt.Fprint(q, "and another\n")
		q.close(t.Context())
		if text := g.text(); text != "3 lost\nand another\n" {
			t.Errorf("written: %q", text)
		}
	})
}

// What a process says when it ends goes behind all that waits, though there is no room.
func TestLogQueue_LastLinesHaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{let: make(chan error)}
		q := newTestQueue(g)
		fill(q)
		q.last([]byte("error: the end\n"))
		close(g.let)
		q.close(t.Context())
		if text := g.text(); !strings.HasSuffix(text, "xxx\nerror: the end\n1 lost\n") {
			t.Errorf("written: … %q", text[len(text)-40:])
		}
	})
}

func TestLogQueue_CloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{let: make(chan error)}
		q := newTestQueue(g)
		fmt.Fprint(q, "a line\n")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		q.close(ctx)
		if g.text() != "" {
			t.Error("written?")
		}
		close(g.let)
		<-q.done
	})
}

// short is a file that takes some bytes, then none, then all.
type short struct {
	strings.Builder
	answers []error
}

func (s *short) Write(b []byte) (int, error) {
	if len(s.answers) == 0 {
		return s.Builder.Write(b)
	}
	err := s.answers[0]
	s.answers = s.answers[1:]
	n, _ := s.Builder.Write(b[:min(3, len(b))])
	return n, err
}

func TestLineWriter_KeepsLinesWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			answers []error
			want    string
			lost    uint64
		}{
			{want: "one\ntwo\nthree\n"},
			{answers: []error{syscall.EAGAIN, syscall.EAGAIN}, want: "one\ntwo\nthree\n"},
			{answers: []error{syscall.ENOSPC}, want: "one\nthree\n", lost: 2},
			{answers: []error{syscall.EAGAIN, syscall.ENOSPC}, want: "one\ntw\nthree\n", lost: 1},
		} {
			out := &short{answers: tc.answers}
			w := lineWriter{out: out, turn: new(sync.Mutex)}
			lost, _ := w.write([]byte("one\ntwo\n"))
			if again, err := w.write([]byte("three\n")); err != nil || again != 0 {
				t.Error(again, err)
			}
			if out.String() != tc.want || lost != tc.lost {
				t.Errorf("%v: %q, %d lost; want %q, %d", tc.answers, out.String(), lost, tc.want, tc.lost)
			}
		}
	})
}
