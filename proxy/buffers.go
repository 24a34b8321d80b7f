package proxy

import "sync"

// freight is memory for bytes on their way. It begins small, and grows as it is
// filled and emptied: for whoever sends little, or takes little, only little
// is held, and a long body goes in few steps all the same.
//
// The zero value is ready. free gives the memory back.
type freight struct {
	b     *[]byte
	class int
	small int // reads in a row that filled little of it
}

// A read that fills most of the memory of one class has the next one done into
// that of the class above. One that fills next to nothing goes back by one, and so
// do two in a row that fill less than a quarter: the first may be the rest of a buffer.
var (
	freightSizes = [...]int{2 << 10, 8 << 10, 32 << 10, 64 << 10}
	freightPools [len(freightSizes)]sync.Pool
)

// room is where the next bytes go.
func (f *freight) room() []byte {
	if f.b == nil {
		f.take(f.class)
	}
	return *f.b
}

// filled is the first n bytes of it. It takes no memory for none.
func (f *freight) filled(n int) []byte {
	if n == 0 {
		return nil
	}
	return f.room()[:n]
}

// fit has it be no larger than n, as far as it can.
func (f *freight) fit(n int) {
	for f.class > 0 && freightSizes[f.class] > n {
		f.resize(f.class - 1)
	}
}

// carried notes that n bytes have come and gone.
func (f *freight) carried(n int) {
	size := freightSizes[f.class]
	if n < size/4 {
		f.small++
	} else {
		f.small = 0
	}
	switch {
	case n > size*3/4 && f.class < len(freightSizes)-1: // not all: a chunked body's framing was read, too
		f.resize(f.class + 1)
	case (f.small > 1 || n < size/16) && f.class > 0:
		f.resize(f.class - 1)
	}
}

func (f *freight) resize(class int) {
	f.free()
	f.class, f.small = class, 0
}

// grow makes room behind what is there.
func (f *freight) grow() {
	old := *f
	f.take(f.class + 1)
	copy(*f.b, *old.b)
	old.free()
}

func (f *freight) take(class int) {
	b, ok := freightPools[class].Get().(*[]byte)
	if !ok {
		b = new([]byte)
		*b = make([]byte, freightSizes[class])
	}
	f.b, f.class = b, class
}

func (f *freight) free() {
	if f.b != nil {
		freightPools[f.class].Put(f.b)
		f.b = nil
	}
}
