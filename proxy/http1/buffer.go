package http1

import (
	"sync"

	"sallyport/proxy/message"
)

// buffer is memory that a connection borrows while a message is under way, with
// the fields that point into it.
type buffer struct {
	b      []byte
	fields []message.Field
}

// Nearly all heads fit the first size; output uses the second, which is as much
// as a TLS record holds.
var (
	sizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10}
	pools [len(sizes)]sync.Pool
)

const (
	smallBuffer  = 4 << 10
	outputBuffer = 16 << 10
)

// borrow returns a buffer of at least n bytes.
func borrow(n int) *buffer {
	for i, size := range sizes {
		if n <= size {
			if b, ok := pools[i].Get().(*buffer); ok {
				return b
			}
			return &buffer{b: make([]byte, size)}
		}
	}
	return &buffer{b: make([]byte, n)}
}

// giveBack returns b to its pool. Nothing may point into it any more.
func giveBack(b *buffer) {
	b.forget()
	for i, size := range sizes {
		if len(b.b) == size {
			pools[i].Put(b)
			return
		}
	}
}

func (b *buffer) forget() {
	clear(b.fields)
	b.fields = b.fields[:0]
}
