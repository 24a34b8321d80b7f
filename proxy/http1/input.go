package http1

import (
	"net"
	"time"
)

// room is what a read into the buffer should find at least.
const room = 1 << 10

// input is the reading half of a connection: what has come and is unread yet,
// buf.b[r:w]. It holds no buffer while there is nothing in it.
type input struct {
	conn net.Conn
	by   deadline
	buf  *buffer
	head *buffer // holds a head that is in use, after buf had to be replaced
	r, w int

	// pinned: what lies before r belongs to a head in use and must stay.
	pinned bool
}

func (in *input) unread() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.b[in.r:in.w]
}

// within bounds the reads that follow.
func (in *input) within(limit time.Duration) error {
	return in.by.within(limit, in.conn.SetReadDeadline)
}

// more reads what is there behind what is unread, once. The unread part may
// have another place afterwards, even when it fails.
func (in *input) more() error {
	in.makeRoom()
	return in.came(in.conn.Read(in.buf.b[in.w:]))
}

// ask sends what is to be answered, and does what more does.
func (in *input) ask(by Asker, request []byte, sent func()) error {
	in.makeRoom()
	return in.came(by.Ask(request, in.buf.b[in.w:], sent))
}

func (in *input) came(n int, err error) error {
	in.w += n
	if n > 0 {
		return nil
	}
	return err
}

// makeRoom sees to it that there is some room behind what is unread.
func (in *input) makeRoom() {
	unread := in.unread()
	if in.buf != nil && len(in.buf.b)-in.w >= room {
		return
	}
	if in.buf != nil && !in.pinned && in.r > 0 && len(in.buf.b)-len(unread) >= room {
		in.w = copy(in.buf.b, unread)
		in.r = 0
		return
	}
	b := borrow(max(smallBuffer, 2*len(unread)+1))
	w := copy(b.b, unread)
	switch {
	case in.buf == nil:
	case in.pinned:
		in.head = in.buf
	default:
		giveBack(in.buf)
	}
	in.buf, in.r, in.w, in.pinned = b, 0, w, false
}

// put puts back what was read too far. There must be room for it.
func (in *input) put(p []byte) {
	in.w += copy(in.buf.b[in.w:], p)
}

// pin keeps what lies before r until release.
func (in *input) pin() { in.pinned = true }

// release ends the use of the last head and gives back the buffers but for
// what is unread.
func (in *input) release() {
	if in.head != nil {
		giveBack(in.head)
		in.head = nil
	}
	in.pinned = false
	if in.buf == nil {
		return
	}
	in.buf.forget()
	in.w = copy(in.buf.b, in.unread())
	in.r = 0
	if in.w == 0 {
		giveBack(in.buf)
		in.buf = nil
	}
}
