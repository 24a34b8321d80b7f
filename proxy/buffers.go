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
	full  int // reads that filled it, since it has this size
}

// Some reads that fill most of the memory of one class have the next ones done
// into that of the class above; one that fills less than a quarter goes back by one.
// Before the largest is used so much has left that not all of it can lie
// in a socket's buffer (maxUnsent).
var (
	freightSizes = [...]int{2 << 10, 8 << 10, 32 << 10}
	freightGrows = [...]int{1, 16}
	freightPools [len(freightSizes)]sync.Pool
)

// room is where the next bytes go.
func (f *freight) room() []byte {
	if f.b == nil {
		f.take(f.class)
	}
	return *f.b
}

// carried notes that n bytes have come and gone.
func (f *freight) carried(n int) {
	switch size := freightSizes[f.class]; {
	case n > size*3/4: // not all: a chunked body's framing was read, too
		if f.full++; f.class < len(freightGrows) && f.full >= freightGrows[f.class] {
			f.resize(f.class + 1)
		}
	case n < size/4 && f.class > 0:
		f.resize(f.class - 1)
	}
}

func (f *freight) resize(class int) {
	f.free()
	f.class, f.full = class, 0
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
