package http2

import "sync"

var inPool = sync.Pool{New: func() any { return new([inSize]byte) }}

// Output gathers in a small buffer, and moves to larger ones when it has
// outgrown that. The largest takes all that maxPending allows, a frame, and a
// full field section of some size.
const (
	outSmall  = 8 << 10
	outMedium = 12 << 10
	outLarge  = maxPending + 2*maxPayload
)

var (
	outSmallPool  = sync.Pool{New: func() any { return new([outSmall]byte) }}
	outMediumPool = sync.Pool{New: func() any { return new([outMedium]byte) }}
	outLargePool  = sync.Pool{New: func() any { return new([outLarge]byte) }}
)

// reserve makes room for n more bytes.
func reserve(b []byte, n int) []byte {
	switch need := len(b) + n; {
	case need <= cap(b):
		return b
	case need <= outSmall:
		return append(outSmallPool.Get().(*[outSmall]byte)[:0], b...)
	case need <= outMedium:
		grown := append(outMediumPool.Get().(*[outMedium]byte)[:0], b...)
		recycle(b)
		return grown
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
	case outMedium:
		outMediumPool.Put((*[outMedium]byte)(b[:outMedium]))
	case outLarge:
		outLargePool.Put((*[outLarge]byte)(b[:outLarge]))
	}
}

// A body's bytes wait in chunks of four sizes, so that a few bytes do not hold
// many.
const (
	chunkTiny   = 128
	chunkSmall  = 1 << 10
	chunkMedium = 4 << 10
	chunkLarge  = 16 << 10
)

var (
	chunkTinyPool   = sync.Pool{New: func() any { return new([chunkTiny]byte) }}
	chunkSmallPool  = sync.Pool{New: func() any { return new([chunkSmall]byte) }}
	chunkMediumPool = sync.Pool{New: func() any { return new([chunkMedium]byte) }}
	chunkLargePool  = sync.Pool{New: func() any { return new([chunkLarge]byte) }}
)

func getChunk(n int) []byte {
	switch {
	case n <= chunkTiny:
		return chunkTinyPool.Get().(*[chunkTiny]byte)[:0]
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
	case chunkTiny:
		chunkTinyPool.Put((*[chunkTiny]byte)(b[:chunkTiny]))
	case chunkSmall:
		chunkSmallPool.Put((*[chunkSmall]byte)(b[:chunkSmall]))
	case chunkMedium:
		chunkMediumPool.Put((*[chunkMedium]byte)(b[:chunkMedium]))
	case chunkLarge:
		chunkLargePool.Put((*[chunkLarge]byte)(b[:chunkLarge]))
	}
}
