package proxy

import "sync"

// copySize is how much of a body is on its way at once.
const copySize = 32 << 10

var (
	copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}
	smallBodies = sync.Pool{New: func() any { return new([smallBody]byte) }}
)
