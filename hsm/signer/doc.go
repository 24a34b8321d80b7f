// Package signer is what runs in the signer process: the only code that loads
// a vendor's PKCS#11 library and reads a PIN.
//
// The serving process starts the same binary again as `sallyport signer`, with
// one end of a socketpair as file descriptor 3, and asks over it in the
// protocol of package wire. One process serves one token.
//
//	socketpair ─ Run ─┬─ queue ── worker 1 ─ session
//	                  │           worker …   (one each)
//	                  └─ orders ─ obey: any other question, in turn
//
// Run reads and passes on, and never calls the library: it is what notices that
// the serving process has gone. There are as many workers as the token lets
// this process have sessions, each holding its operating system thread while
// the library computes. The serving process asks for no more signatures at once
// than that.
//
// How it fails: every error of the token is classified (failure.go) and
// answered; what to do about it is for the serving process to decide. Nothing
// is repaired here. A library that hangs, crashes or loses its sessions is
// replaced by killing this process and starting another one, which is why a
// process holds one token only. When the serving process goes away, the
// socketpair ends, and so does this process at once, even with calls that hang
// inside the library.
//
// What a device says is not relied on. Calls by which it gives lengths and counts
// have buffers of a fixed size (cryptoki.go), and a number that cannot be is an
// error. The library is called by miekg/pkcs11 otherwise. crypto11, which is built on
// that, is what benchmarks compare with: it panics on a token that speaks of one
// session, looks a key up by three searches over all objects, knows no key whose
// public half is missing, and puts sessions back in use that are no longer good.
//
// What the serving process may ask is a table by phase (phase.go). Which keys may sign is
// settled when the token is opened; each reading takes no others up.
//
// No wrong signature of RSA leaves this process (verify.go): each is verified. Of ECDSA
// the first ones of each key are, a sample of the others, and all while there is doubt.
//
// Objects are read in one pass, and only where the list of their handles has changed
// or that is due (reading.go).
//
// The PIN is read from its source when the token is opened, is given to the
// library once and never again, and appears in no answer. The process refuses
// to be dumped or traced (harden.go).
package signer
