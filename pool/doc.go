// Package pool chooses a backend for each request.
//
// A Pool is a named list of backend addresses, picked round robin. What it knows of
// a backend it has from the requests sent there, and from probes.
//
// A backend is up, down or ejected (state.go).
//
// It goes down when a connection to it could not be made, and is then passed over
// while another is usable, for a pause that grows from one second to ten. When the
// pause is over it is dialled beside the traffic (probe.go, Pool.Run): a connection
// brings the backend back, a failure starts the next, longer pause.
//
// It is ejected when it could be reached and has failed five requests in a row: it
// closed the connection before a response, sent what is none, or none in time. The
// pause grows from one second to a minute; then one request at a time is sent there as a
// probe, one that can be sent again elsewhere if there is any. A response brings it
// back. At most half of a pool's backends (two of three) are ejected, and never the last that is up. What
// a client causes counts for nothing.
//
// When every backend is passed over they are tried all the same: a request is never
// refused by memory alone.
package pool
