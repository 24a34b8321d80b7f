// Package pool chooses a backend for each request.
//
// A Pool is a named list of backend addresses, picked round robin. It knows of
// a backend only what the requests sent there taught it: nothing is dialled by
// the pool itself and no goroutine runs in it.
//
// A backend is up or down (state.go). It goes down when a connection to it
// could not be made, and is then passed over while another is usable, for a
// pause that grows from one second to ten. When the pause is over one request
// at a time is sent there as a probe; a connection made brings the backend back,
// a failed one starts the next, longer pause. When every backend is down they
// are tried all the same: a request is never refused by memory alone.
//
// A backend that broke an answer or was slow is counted as failed but stays up:
// only a connection that cannot be made says that nobody is there.
package pool
