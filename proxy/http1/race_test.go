//go:build race

package http1

// allowed allocations: under the race detector pools forget on purpose.
const allowed = 8
