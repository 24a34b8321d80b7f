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
}

// A read that fills most of the memory of one class has the next one done into
// that of the class above; one that fills less than a quarter goes back by one.
var (
	freightSizes = [...]int{2 << 10, 8 << 10, 32 << 10}
	freightPools [len(freightSizes)]sync.Pool
)

// room is where the next bytes go.
func (f *freight) room() []byte {
	if f.b == nil {
		f.take(f.class)
	}
	return *f.b
}

// large says whether it is worth to hold none while nothing can be done with it.
func (f *freight) large() bool { return f.class > 0 }

// carried notes that n bytes have come and gone.
func (f *freight) carried(n int) {
	class := f.class
	switch size := freightSizes[class]; {
	case n > size*3/4: // not all: a chunked body's framing was read, too
		class = min(class+1, len(freightSizes)-1)
	case n < size/4:
		class = max(class-1, 0)
	}
	if class != f.class {
		f.free()
		f.class = class
	}
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
