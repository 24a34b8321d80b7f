package http2

import "io"

// reader gives the bytes of a connection piece by piece. Between frames it
// holds no more than its small buffer; the large one comes from a pool, once so
// many bytes have come that the small one was full, and goes back when it is
// empty. So no peer makes it hold more than some times what was sent.
//
// It belongs to the connection's reading goroutine.
type reader struct {
	src   io.Reader
	late  func() // called before a wait in the middle of something
	small [512]byte
	large *[inSize]byte
	r, w  int
	more  bool  // the last read filled the buffer: there is more behind it
	total int64 // bytes that have come
}

// inSize holds the largest frame.
const inSize = headLen + maxPayload + 503

func (r *reader) buf() []byte {
	if r.large != nil {
		return r.large[:]
	}
	return r.small[:]
}

// need returns the next n bytes, at most a frame, without taking them. They are
// valid until the next call. partial says that waiting for them is waiting in
// the middle of something.
func (r *reader) need(n int, partial bool) ([]byte, error) {
	for r.w-r.r < n {
		if (partial || r.w > r.r) && r.late != nil {
			r.late()
		}
		if err := r.fill(n); err != nil {
			if err == io.EOF && (partial || r.w > r.r) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return r.buf()[r.r : r.r+n], nil
}

// skip takes n bytes that need has returned.
func (r *reader) skip(n int) { r.r += n }

// some takes whatever is there, waiting for something, but at most n bytes.
func (r *reader) some(n int) ([]byte, error) {
	if r.r == r.w {
		if err := r.fill(n); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	n = min(n, r.w-r.r)
	p := r.buf()[r.r : r.r+n]
	r.r += n
	return p, nil
}

// fill reads once. It makes room for n bytes, but takes the large buffer only
// when the small one is full.
func (r *reader) fill(n int) error {
	if r.r == r.w {
		r.r, r.w = 0, 0
		if r.more {
			r.grow()
		} else {
			r.release()
		}
	}
	if r.w == len(r.buf()) || r.large != nil && r.r+n > len(r.buf()) {
		r.grow()
	}
	b := r.buf()[r.w:]
	got, err := r.src.Read(b)
	r.w += got
	r.total += int64(got)
	r.more = got == len(b)
	if got > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// grow moves what is there to the start of the large buffer.
func (r *reader) grow() {
	old := r.buf()[r.r:r.w]
	if r.large == nil {
		r.large = inPool.Get().(*[inSize]byte)
	}
	r.w = copy(r.large[:], old)
	r.r = 0
}

// release gives the large buffer back.
func (r *reader) release() {
	if r.large != nil {
		inPool.Put(r.large)
		r.large = nil
		r.r, r.w = 0, 0
	}
}
