package http2

import "sync"

var inPool = sync.Pool{New: func() any { return new([inSize]byte) }}

// Output gathers in a small buffer, and moves to a large one when it has
// outgrown that. The large one takes all that maxPending allows, a frame, and a
// full field section of some size.
const (
	outSmall = 8 << 10
	outLarge = maxPending + 2*maxPayload
)

var (
	outSmallPool = sync.Pool{New: func() any { return new([outSmall]byte) }}
	outLargePool = sync.Pool{New: func() any { return new([outLarge]byte) }}
)

// reserve makes room for n more bytes.
func reserve(b []byte, n int) []byte {
	switch need := len(b) + n; {
	case need <= cap(b):
		return b
	case need <= outSmall:
		return append(outSmallPool.Get().(*[outSmall]byte)[:0], b...)
	case need <= outLarge:
		grown := append(outLargePool.Get().(*[outLarge]byte)[:0], b...)
		recycle(b)
		return grown
	default:
		grown := append(make([]byte, 0, need+outLarge), b...)
		recycle(b)
		return grown
	}
}

// recycle gives a buffer back. One that had to grow further is left alone.
func recycle(b []byte) {
	switch cap(b) {
	case outSmall:
		outSmallPool.Put((*[outSmall]byte)(b[:outSmall]))
	case outLarge:
		outLargePool.Put((*[outLarge]byte)(b[:outLarge]))
	}
}

// A body's bytes wait in chunks of three sizes, so that a few bytes do not hold
// many.
const (
	chunkSmall  = 1 << 10
	chunkMedium = 4 << 10
	chunkLarge  = 16 << 10
)

var (
	chunkSmallPool  = sync.Pool{New: func() any { return new([chunkSmall]byte) }}
	chunkMediumPool = sync.Pool{New: func() any { return new([chunkMedium]byte) }}
	chunkLargePool  = sync.Pool{New: func() any { return new([chunkLarge]byte) }}
)

func getChunk(n int) []byte {
	switch {
	case n <= chunkSmall:
		return chunkSmallPool.Get().(*[chunkSmall]byte)[:0]
	case n <= chunkMedium:
		return chunkMediumPool.Get().(*[chunkMedium]byte)[:0]
	default:
		return chunkLargePool.Get().(*[chunkLarge]byte)[:0]
	}
}

func putChunk(b []byte) {
	switch cap(b) {
	case chunkSmall:
		chunkSmallPool.Put((*[chunkSmall]byte)(b[:chunkSmall]))
	case chunkMedium:
		chunkMediumPool.Put((*[chunkMedium]byte)(b[:chunkMedium]))
	case chunkLarge:
		chunkLargePool.Put((*[chunkLarge]byte)(b[:chunkLarge]))
	}
}

// inbox is what has come of a body and was not read yet. The stream's window
// bounds it.
type inbox struct {
	chunks [][]byte
	r      int // in the first chunk
	n      int // bytes in all
}

func (q *inbox) write(p []byte) {
	q.n += len(p)
	for len(p) > 0 {
		last := len(q.chunks) - 1
		if last < 0 || len(q.chunks[last]) == cap(q.chunks[last]) {
			q.chunks = append(q.chunks, getChunk(len(p)))
			last++
		}
		b := q.chunks[last]
		n := copy(b[len(b):cap(b)], p)
		q.chunks[last] = b[:len(b)+n]
		p = p[n:]
	}
}

func (q *inbox) read(p []byte) int {
	total := 0
	for len(p) > 0 && q.n > 0 {
		first := q.chunks[0]
		n := copy(p, first[q.r:])
		p = p[n:]
		total += n
		q.n -= n
		if q.r += n; q.r == len(first) && (q.r == cap(first) || q.n == 0) {
			putChunk(first)
			q.chunks = append(q.chunks[:0], q.chunks[1:]...)
			q.r = 0
		}
	}
	return total
}

// drop throws away all that is there, and says how much it was.
func (q *inbox) drop() int {
	n := q.n
	for _, b := range q.chunks {
		putChunk(b)
	}
	clear(q.chunks)
	q.chunks, q.r, q.n = q.chunks[:0], 0, 0
	return n
}
