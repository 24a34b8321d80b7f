package proxy

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// watch bounds how long something may go without progress. begin starts or
// extends the time, end suspends it, stop ends the watch. When the time runs out
// between begin and end, expire is called, once and with the lock held: when
// end or stop has returned it will not be called any more, so it cannot hit a
// later request on the same connection.
//
// One timer runs at most and is left to fire rather than reset at each
// progress.
type watch struct {
	limit  time.Duration
	expire func()

	mu      sync.Mutex
	until   time.Time // zero: nothing to watch now
	timer   *time.Timer
	running bool
	expired bool
	stopped bool
}

func newWatch(limit time.Duration, expire func()) *watch {
	return &watch{limit: limit, expire: expire}
}

func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || w.expired {
		return
	}
	w.until = time.Now().Add(w.limit)
	if w.running {
		return
	}
	w.running = true
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit, w.fire)
	} else {
		w.timer.Reset(w.limit)
	}
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = time.Time{}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.until = time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) hasExpired() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.expired
}

func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = false
	if w.stopped || w.until.IsZero() {
		return
	}
	if left := time.Until(w.until); left > 0 {
		w.running = true
		w.timer.Reset(left)
		return
	}
	w.expired = true
	w.expire()
}

// past is a deadline that interrupts what is under way.
var past = time.Unix(1, 0)

// clientBody is a request's body, watched for progress. Reads come from the
// transport's goroutine and may outlast the handler.
type clientBody struct {
	io.ReadCloser
	watch *watch
	bytes atomic.Int64

	mu  sync.Mutex
	eof bool
	err error // how the client broke it
}

func newClientBody(body io.ReadCloser, rc *http.ResponseController, limit time.Duration) *clientBody {
	return &clientBody{ReadCloser: body, watch: newWatch(limit, func() { rc.SetReadDeadline(past) })}
}

func (b *clientBody) Read(p []byte) (int, error) {
	b.watch.begin()
	n, err := b.ReadCloser.Read(p)
	b.watch.end()
	b.bytes.Add(int64(n))
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if err == io.EOF {
			b.eof = true
		} else {
			b.err = errBodyBroken
		}
	}
	return n, err
}

// fault returns how the client broke its body, or nil. net/http cancels the
// request on a timeout too, and does so before Read returns: the watch is asked
// first.
func (b *clientBody) fault() error {
	if b == nil {
		return nil
	}
	if b.watch.hasExpired() {
		return errBodySlow
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// whole reports whether the body was read to its end.
func (b *clientBody) whole() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.eof
}

// answerWriter is the way back to the client: it counts and keeps what was
// sent, and watches each write for progress. The watch rests while the backend
// is waited for.
type answerWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	watch *watch

	status int // of the final answer; 0 until its head is written
	bytes  int64
	err    error // the first write that failed
}

func newAnswerWriter(w http.ResponseWriter, rc *http.ResponseController, limit time.Duration) *answerWriter {
	return &answerWriter{ResponseWriter: w, rc: rc, watch: newWatch(limit, func() { rc.SetWriteDeadline(past) })}
}

func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *answerWriter) WriteHeader(status int) {
	if status == http.StatusContinue {
		// net/http sends it when the body is first read, which the transport
		// does when the backend's arrived; this one would be the second.
		return
	}
	if status >= 200 && w.status == 0 {
		w.status = status
		// A key without a value keeps net/http from guessing a type that the
		// backend did not give.
		if h := w.Header(); h["Content-Type"] == nil {
			h["Content-Type"] = nil
		}
	}
	w.watch.begin()
	defer w.watch.end()
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.watch.begin()
	n, err := w.ResponseWriter.Write(p)
	w.watch.end()
	w.bytes += int64(n)
	w.note(err)
	return n, err
}

// FlushError implements what http.ResponseController looks for.
func (w *answerWriter) FlushError() error {
	w.watch.begin()
	err := w.rc.Flush()
	w.watch.end()
	w.note(err)
	return err
}

func (w *answerWriter) note(err error) {
	if err == nil || w.err != nil {
		return
	}
	if w.err = errClientGone; w.watch.hasExpired() {
		w.err = errReaderSlow
	}
}
