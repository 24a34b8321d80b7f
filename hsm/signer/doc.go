// Package signer is what runs in the signer process: the only code that loads
// a vendor's PKCS#11 library and reads a PIN.
//
// The serving process starts the same binary again as `sallyport signer`, with
// one end of a socketpair as file descriptor 3, and asks over it in the
// protocol of package wire. One process serves one token.
//
//	socketpair ─ read loop ─┬─ queue ─ worker 1 ─ crypto11 ─ session
//	   (Run)                │          worker …              (one each)
//	                        └─ open, list, slots: in turn, in the read loop
//
// Run owns the read loop and the workers. There are as many workers as
// sessions, each holding its operating system thread while the library
// computes. The serving process never has more signatures under way than there
// are workers; one that did would block the read loop and nobody else.
//
// How it fails: every error of the token is classified (failure.go) and
// answered; what to do about it is for the serving process to decide. Nothing
// is repaired here. A library that hangs, crashes or loses its sessions is
// replaced by killing this process and starting another one, which is why a
// process holds one token only. When the serving process goes away, the
// socketpair ends, and so does this process at once, even with calls that hang
// inside the library.
//
// The PIN is read from its source when the token is opened, is given to the
// library once and never again, and appears in no answer. The process refuses
// to be dumped or traced (harden.go).
package signer
