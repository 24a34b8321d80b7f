// Package syntax says which octets may be where in a message's head, and how a
// path may be read. HTTP/1.1 and HTTP/2 share it, so that one table decides
// what a request may be, whichever protocol it comes by; and the configuration does,
// whose routes must be paths that requests can have.
//
//	octets.go     classes of octets; names and values of fields
//	target.go     a path with its query
//	authority.go  a host with its port
//	path.go       how backends may read a path
package syntax
