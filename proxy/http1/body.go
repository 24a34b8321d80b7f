package http1

import (
	"io"
	"sync/atomic"
	"time"

	"sallyport/proxy/message"
)

// kind is how a body is framed.
type kind uint8

const (
	none     kind = iota
	counted       // by Content-Length
	inChunks      // by the chunked coding
	raw           // by the connection's end; a tunnel too
)

// limits are a body's.
type limits struct {
	progress    time.Duration // the longest time without; 0: any
	head        int           // bytes of trailers
	fields      int           // trailers
	underscores bool          // in their names
}

// body is a message's body on its way in. It reads into its reader's memory
// where it can.
type body struct {
	in       *input
	kind     kind
	left     int64 // of a counted one
	chunks   chunks
	limits   limits
	lines    lines
	inLines  bool
	first    int // trailer among the buffer's fields
	trailers []message.Field
	err      error // what it ended with
	answer   bool  // a backend's

	// whole is true once the body is. It is asked by who writes the answer.
	whole atomic.Bool
	// failed is true once it broke, so that no message can follow it.
	failed atomic.Bool
	// stopped is true once nobody needs the rest.
	stopped atomic.Bool
}

func (b *body) begin(in *input, k kind, length int64, l limits) {
	b.in, b.kind, b.left, b.limits = in, k, length, l
	b.chunks = chunks{lax: b.answer}
	b.lines.lax = b.answer
	b.inLines, b.trailers, b.err = false, nil, nil
	b.whole.Store(k == none || k == counted && length == 0)
	b.failed.Store(false)
	b.stopped.Store(false)
}

// Read implements message.Body.
func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.whole.Load():
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	n, err := b.read(p)
	if err != nil && err != io.EOF {
		if b.stopped.Load() {
			err = ErrAnswered
		} else {
			b.failed.Store(true)
		}
		b.err = err
	}
	return n, err
}

func (b *body) read(p []byte) (int, error) {
	switch b.kind {
	case counted:
		n, err := b.direct(p[:min(int64(len(p)), b.left)])
		if b.left -= int64(n); b.left == 0 {
			b.whole.Store(true)
		}
		return n, brokenOff(n, err)
	case inChunks:
		return b.readChunks(p)
	}
	n, err := b.direct(p)
	if n == 0 && err == io.EOF {
		b.whole.Store(true)
	}
	return n, err
}

// Trailers implements message.Body.
func (b *body) Trailers() []message.Field { return b.trailers }

// Whole says whether the body has come as a whole.
func (b *body) Whole() bool { return b.whole.Load() }

// Ready says whether the next Read does not have to wait: whoever sends the
// body on may keep what it has for a moment, to send both at once.
func (b *body) Ready() bool {
	switch unread := b.in.unread(); {
	case b.whole.Load() || b.err != nil:
		return true
	case b.kind == inChunks:
		return b.chunks.ready(unread)
	default:
		return len(unread) > 0
	}
}

// direct gives what is in the buffer or, where that is nothing, reads into p.
func (b *body) direct(p []byte) (int, error) {
	if unread := b.in.unread(); len(unread) > 0 {
		n := copy(p, unread)
		b.in.r += n
		return n, nil
	}
	if err := b.wait(); err != nil {
		return 0, err
	}
	n, err := b.in.conn.Read(p)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// wait comes before each read of the connection. Whoever stops the body does
// so first and sets the deadline then; here it is the other way round, so that
// one of both sees the other.
func (b *body) wait() error {
	if err := b.in.within(b.limits.progress); err != nil {
		return err
	}
	if b.stopped.Load() {
		return ErrAnswered
	}
	return nil
}

// smallRead is the size of p below which a read into p would be a waste.
const smallRead = 512

func (b *body) readChunks(p []byte) (int, error) {
	for b.chunks.state != ended {
		n, err := b.readChunk(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, b.readTrailers()
}

// readChunk gives the data of what has come, which may be none. It reads no
// further than the buffer can take back what lies behind the body's end.
func (b *body) readChunk(p []byte) (int, error) {
	in := b.in
	if unread := in.unread(); len(unread) > 0 {
		n, used, err := b.chunks.decode(p[:copy(p, unread)])
		in.r += used
		return n, b.fault(err)
	}
	if err := b.wait(); err != nil {
		return 0, err
	}
	if len(p) < smallRead {
		return 0, brokenOff(0, in.more())
	}
	in.makeRoom()
	n, err := in.conn.Read(p[:min(int64(len(p)), b.chunks.left+int64(len(in.buf.b)-in.w))])
	if n == 0 {
		return 0, brokenOff(0, err)
	}
	data, used, bad := b.chunks.decode(p[:n])
	in.put(p[used:n])
	return data, b.fault(bad)
}

func (b *body) readTrailers() error {
	for {
		if !b.inLines {
			b.lines.from(b.in)
			b.first = len(b.in.buf.fields)
			b.inLines = true
		}
		more, err := b.parseTrailers()
		if err != nil {
			return b.fault(err)
		}
		if !more {
			b.in.r = b.lines.pos
			b.trailers = b.in.buf.fields[b.first:]
			b.whole.Store(true)
			return io.EOF
		}
		if err := b.wait(); err != nil {
			return err
		}
		buf, r := b.in.buf, b.in.r
		if err := b.in.more(); err != nil {
			return brokenOff(0, err)
		}
		if b.in.buf == buf && b.in.r == r {
			continue
		}
		// What was cut into lines has another place now. A buffer that was
		// replaced may be somebody else's already.
		if b.in.buf == buf {
			buf.fields = buf.fields[:b.first]
		}
		b.inLines = false
	}
}

func (b *body) parseTrailers() (more bool, err *Error) {
	in := b.in
	for {
		line, more, err := b.lines.next(in)
		switch {
		case err != nil:
			return false, err
		case more && in.w-in.r > b.limits.head, b.lines.pos-in.r > b.limits.head:
			return false, errHeadLong
		case more:
			return true, nil
		case len(line) == 0:
			return false, nil
		case len(in.buf.fields)-b.first == b.limits.fields:
			return false, errManyFields
		}
		f, skip, err := b.cutTrailer(line)
		if err != nil {
			return false, err
		}
		if skip {
			continue
		}
		in.buf.fields = append(in.buf.fields, f)
	}
}

// cutTrailer cuts a trailer's line. One that must not be a trailer is refused in a request,
// and left out of a response.
func (b *body) cutTrailer(line []byte) (f message.Field, skip bool, err *Error) {
	if b.answer {
		if line[0] == ' ' || line[0] == '\t' {
			return f, false, errFold
		}
		skip, err = cutField(&f, line)
		return f, skip || forbiddenTrailer(f.ID), err
	}
	if f, err = parseField(line, b.limits.underscores); err == nil && forbiddenTrailer(f.ID) {
		err = errTrailer
	}
	return f, false, err
}

// fault makes an error of what is wrong with the framing.
func (b *body) fault(err *Error) error {
	if err == nil {
		return nil
	}
	if b.answer {
		return (*Broken)(err)
	}
	return err
}

// brokenOff is the error of a body of which more should have come.
func brokenOff(n int, err error) error {
	if n == 0 && err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// stop has reads of the body fail that would wait. It may be called by any
// goroutine.
func (b *body) stop() {
	b.stopped.Store(true)
	b.in.conn.SetReadDeadline(past)
}
