package wire

import (
	"fmt"
	"io"
	"sync"
)

// Writer writes frames from many goroutines and gathers into one write what
// comes while another is under way, so that a burst costs few system calls and
// no goroutine of its own. The bytes that may gather are bounded by the frames
// that the callers allow under way, which is their duty.
type Writer struct {
	w io.Writer

	mu      sync.Mutex
	pending []byte
	spare   []byte
	busy    bool // a caller is writing; it will also write what is pending
	err     error
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w}
}

// Write sends f, or leaves it to the caller that is already writing. A nil
// error therefore does not mean that f has left: an error of the connection
// shows in every later Write, and in the peer's silence.
func (w *Writer) Write(f Frame) error {
	if n := headSize + len(f.Payload); n > MaxFrame {
		return fmt.Errorf("%w: %s of %d bytes", ErrFrame, f.Kind, n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.pending = appendFrame(w.pending, f)
	if w.busy {
		return nil
	}
	w.busy = true
	for len(w.pending) > 0 && w.err == nil {
		out := w.pending
		w.pending = w.spare[:0]
		w.mu.Unlock()
		_, err := w.w.Write(out)
		w.mu.Lock()
		w.spare = out[:0]
		w.err = err
	}
	w.busy = false
	return w.err
}
