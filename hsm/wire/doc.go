// Package wire is the protocol between the serving process and the signer
// process of a token: what crosses the socketpair, and nothing else.
//
// The serving process asks, the signer answers. A question carries a number
// that its answer repeats, so many signatures are under way at once and
// answers come in any order:
//
//	length  4 bytes, big endian: how many bytes follow, at most MaxFrame
//	kind    1 byte
//	number  8 bytes, big endian
//	payload the rest; its shape depends on the kind
//
// Sign is the hot path and is fixed binary (see SignRequest); the other
// questions are rare and carry JSON. An answer is Done with the result as its
// payload, or Failed with a Failure. While Open is under way, Login says when
// C_Login begins and when it has succeeded, so that the serving process knows of
// a signer that is lost whether it may have cost a try.
//
// What may be asked is a table by phase (hsm/signer/phase.go): a module is loaded and a
// token opened once, and with Open it is settled which keys may sign. Anything else ends
// the signer process.
//
// Neither side trusts the other's lengths: a frame that is too long or too
// short ends the connection, and with it the signer process. The PIN never
// crosses: Settings say where the signer finds it.
package wire
