package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"time"
)

const (
	maxQueued  = 4 << 20  // bytes of lines that wait to be written; further lines are dropped
	maxBatch   = 64 << 10 // bytes of lines in one write, if a line is not longer
	keptRoom   = 1 << 20  // bytes that stay reserved for lines to come
	retryPause = 10 * time.Millisecond
)

// logQueue is where a log's lines wait until a goroutine of its own has written them.
// Write never waits for whoever reads the log: a reader that stands still or is gone
// costs lines, which are counted, and at most twice maxQueued bytes of memory.
//
// Lines are dropped from the first that finds no room until the goroutine takes all
// that wait. A line that tells their number is written in their place.
type logQueue struct {
	out    io.Writer
	turn   *sync.Mutex // held for a write: logs that share a file write in turn
	told   func(lost uint64) []byte
	failed func(error) // called when writes begin to fail

	mu     sync.Mutex
	lines  []byte // whole ones
	full   bool   // further lines are dropped until these have been taken
	closed bool
	lost   uint64 // lines, dropped or not written
	untold uint64 // those of them that were dropped since lines were taken last

	wake chan struct{} // holds one
	done chan struct{} // closed when the goroutine has ended
}

// start starts the goroutine, which close ends.
func (q *logQueue) start() {
	q.wake, q.done = make(chan struct{}, 1), make(chan struct{})
	go q.run()
}

// Write takes a whole line, or drops and counts it. It never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	if q.full || q.closed || len(q.lines)+len(line) > maxQueued {
		q.full = true
		q.lost++
		q.untold++
	} else {
		q.lines = append(q.lines, line...)
	}
	q.mu.Unlock()
	q.rouse()
	return len(line), nil
}

// last takes a text of whole lines for which there is always room: what a process
// says when it ends.
func (q *logQueue) last(text []byte) {
	q.mu.Lock()
	q.lines = append(q.lines, text...)
	q.mu.Unlock()
	q.rouse()
}

func (q *logQueue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// dropped returns how many lines were lost so far.
func (q *logQueue) dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

// close waits until all lines are written, or until ctx ends: a write that a reader
// holds up cannot be called off, and ends with the process. Later lines are dropped.
func (q *logQueue) close(ctx context.Context) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.rouse()
	select {
	case <-q.done:
	case <-ctx.Done():
	}
}

// run writes lines until the queue is closed and empty.
func (q *logQueue) run() {
	defer close(q.done)
	out := lineWriter{out: q.out, turn: q.turn}
	var lines []byte
	var untold uint64
	var failing bool
	for {
		var dropped uint64
		var open bool
		lines, dropped, open = q.take(lines)
		if len(lines) == 0 && dropped == 0 && (untold == 0 || failing) {
			if !open {
				return
			}
			<-q.wake
			continue
		}
		var lost uint64
		var err error
		if untold > 0 {
			if _, err = out.write(q.told(untold)); err == nil {
				untold = 0
			}
		}
		if err == nil {
			lost, err = out.write(lines)
		} else {
			lost = linesIn(lines)
		}
		if err != nil && !failing && q.failed != nil {
			q.failed(err)
		}
		failing = err != nil
		untold += lost + dropped
		q.mu.Lock()
		q.lost += lost
		q.mu.Unlock()
	}
}

// take returns the lines that wait and how many were dropped behind them, and leaves
// the room of those that are written.
func (q *logQueue) take(written []byte) (lines []byte, dropped uint64, open bool) {
	if cap(written) > keptRoom {
		written = nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	lines, dropped = q.lines, q.untold
	q.lines, q.untold, q.full = written[:0], 0, false
	return lines, dropped, !q.closed
}

// lineWriter writes whole lines, in turn with others that write to the same file.
type lineWriter struct {
	out  io.Writer
	turn *sync.Mutex
	torn bool // what was written last ends within a line
}

// write returns how many of the lines were not written, with the reason.
func (w *lineWriter) write(lines []byte) (lost uint64, err error) {
	for len(lines) > 0 {
		n := len(lines)
		if n > maxBatch {
			if n = bytes.LastIndexByte(lines[:maxBatch], '\n') + 1; n == 0 {
				n = bytes.IndexByte(lines, '\n') + 1
			}
		}
		written, err := w.batch(lines[:n])
		if err != nil {
			return linesIn(lines[written:]), err
		}
		lines = lines[n:]
	}
	return 0, nil
}

// batch writes a batch, and returns how much of it was written.
func (w *lineWriter) batch(lines []byte) (int, error) {
	w.turn.Lock()
	defer w.turn.Unlock()
	if w.torn {
		if _, err := w.all([]byte{'\n'}); err != nil {
			return 0, err
		}
		w.torn = false
	}
	n, err := w.all(lines)
	w.torn = n > 0 && lines[n-1] != '\n'
	return n, err
}

// all writes b. It waits where another process has made the file one that does not
// block, which holds for all who share it (O_NONBLOCK).
func (w *lineWriter) all(b []byte) (written int, err error) {
	for {
		n, err := w.out.Write(b[written:])
		written += n
		if !errors.Is(err, syscall.EAGAIN) {
			return written, err
		}
		time.Sleep(retryPause)
	}
}

func linesIn(b []byte) uint64 { return uint64(bytes.Count(b, []byte{'\n'})) }
