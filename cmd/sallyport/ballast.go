package main

import "runtime"

// ballast is how much garbage may gather, besides as much as is in use, before it is
// collected. A service in which little is open has a small heap, which handshakes fill
// in some milliseconds: it would collect most of the time.
const ballast = 16 << 20

// takeBallast counts that much as in use. Nobody writes to it, so it takes no
// memory. The returned function ends that.
func takeBallast() (drop func()) {
	b := make([]byte, ballast)
	return func() { runtime.KeepAlive(b) }
}
