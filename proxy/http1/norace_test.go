//go:build !race

package http1

// allowed allocations.
const allowed = 0
