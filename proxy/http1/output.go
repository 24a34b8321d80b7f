package http1

import (
	"net"
	"strconv"
	"time"

	"sallyport/proxy/message"
)

// output is the writing half of a connection. It gathers what is written until
// that fills a TLS record or has to leave, and holds no buffer while there is
// nothing in it.
type output struct {
	conn  net.Conn
	by    deadline
	limit time.Duration // without progress
	paced bool          // the socket sees to that
	buf   *buffer
	n     int
	kind  kind
	left  int64 // of a counted body
	err   error // sticky: what was sent is not known any more

	look   func() error // before a message's first byte is sent; nil: nothing is to be seen
	unseen bool         // that is still to be done
}

// on begins an output on a connection.
func (o *output) on(conn net.Conn, limit time.Duration) {
	o.conn, o.limit = conn, limit
	o.by.forget()
	if p, ok := socket(conn).(Pacer); ok {
		o.paced = true
		p.PaceWrites(limit)
	}
}

// bound bounds the write that follows.
func (o *output) bound() error {
	if o.paced {
		return nil
	}
	return o.by.within(o.limit, o.conn.SetWriteDeadline)
}

// begin starts a message. Its head comes first, as bytes.
func (o *output) begin() {
	o.kind, o.left = none, 0
	o.unseen = o.look != nil
}

func (o *output) bytes(p []byte)  { addTo(o, p) }
func (o *output) string(s string) { addTo(o, s) }

// addTo keeps p, and sends what is kept whenever that fills the buffer.
func addTo[T []byte | string](o *output, p T) {
	for o.err == nil && len(p) > 0 {
		if o.buf == nil {
			o.buf = borrow(outputBuffer)
		}
		n := copy(o.buf.b[o.n:], p)
		o.n += n
		if p = p[n:]; len(p) > 0 {
			o.flush()
		}
	}
}

func (o *output) number(n int64, base int) {
	var digits [20]byte
	o.bytes(strconv.AppendInt(digits[:0], n, base))
}

// flush sends what is kept.
func (o *output) flush() error {
	if o.n > 0 && o.err == nil {
		o.send(o.buf.b[:o.n])
	}
	o.drop()
	return o.err
}

// drop forgets what is kept.
func (o *output) drop() {
	if o.buf != nil {
		giveBack(o.buf)
		o.buf = nil
	}
	o.n = 0
}

// send writes p at once.
func (o *output) send(p []byte) {
	if o.unseen && o.err == nil {
		o.unseen = false
		o.err = o.look()
	}
	for o.err == nil && len(p) > 0 {
		if o.err = o.bound(); o.err != nil {
			return
		}
		var n int
		n, o.err = o.conn.Write(p[:min(len(p), maxWrite)])
		p = p[n:]
	}
}

// maxWrite is how much is written under one deadline: where the socket is no Pacer, its
// peer has to take that much within the limit.
const maxWrite = 64 << 10

// body sends or keeps a part of the body.
func (o *output) body(p []byte, flush bool) error {
	switch {
	case o.err != nil:
		return o.err
	case len(p) == 0:
	case o.kind == inChunks:
		o.chunk(p)
	case o.kind == none, o.kind == counted && int64(len(p)) > o.left:
		o.fail(ErrLength)
	case flush && o.n == 0:
		// It need not be kept for anything, nor a buffer held while it leaves.
		o.left -= int64(len(p))
		o.send(p)
	default:
		o.left -= int64(len(p))
		o.data(p)
	}
	if flush {
		return o.flush()
	}
	return o.err
}

// data keeps p, or sends it from where it is if it is large.
func (o *output) data(p []byte) {
	if o.n > 0 {
		n := min(len(p), len(o.buf.b)-o.n)
		o.bytes(p[:n])
		if p = p[n:]; len(p) == 0 {
			return
		}
		o.flush()
	}
	if len(p) >= outputBuffer {
		o.send(p)
		return
	}
	o.bytes(p)
}

// chunk sends p as a chunk. Its end stays behind, to leave with what follows the
// chunk.
func (o *output) chunk(p []byte) {
	o.number(int64(len(p)), 16)
	o.string("\r\n")
	tail := max(0, len(p)-smallRead)
	if len(p) < outputBuffer {
		tail = 0
	}
	o.data(p[:tail])
	o.data(p[tail:])
	o.string("\r\n")
}

// end ends the body and sends all that is kept. A body that is too short
// stays so, and one that was ended is not ended again.
func (o *output) end(trailers []message.Field) error {
	if err := o.close(trailers); err != nil {
		return err
	}
	return o.flush()
}

// close is end, but what is kept stays so.
func (o *output) close(trailers []message.Field) error {
	switch {
	case o.err != nil:
		return o.err
	case o.kind == counted && o.left > 0:
		o.fail(ErrLength)
		return o.err
	case o.kind == inChunks:
		if !checkFields(trailers) {
			o.fail(ErrHead)
			return o.err
		}
		o.string("0\r\n")
		o.fields(trailers)
		o.string("\r\n")
	}
	o.kind = none
	return o.err
}

// fail ends all writing. What is kept is not sent.
func (o *output) fail(err error) {
	o.err = err
	o.drop()
}

// fields writes field lines.
func (o *output) fields(list []message.Field) {
	for i := range list {
		o.bytes(list[i].Name)
		o.string(": ")
		o.bytes(list[i].Value)
		o.string("\r\n")
	}
}

// checkFields says whether fields can be written so that they are read as they
// are meant, and do not say what the codec says by itself. All were checked when
// they came; what reaches the wire is checked again here.
func checkFields(list []message.Field) bool {
	for i := range list {
		f := &list[i]
		if len(f.Name) == 0 || !all(f.Name, isToken) || !isValue(f.Value) || framing(f.ID) {
			return false
		}
	}
	return true
}

// framing says whether a field is the codec's own.
func framing(id message.FieldID) bool {
	switch id {
	case message.Connection, message.ContentLength, message.Expect, message.Host, message.TE,
		message.TransferEncoding, message.Upgrade:
		return true
	}
	return false
}
