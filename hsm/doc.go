// Package hsm gives the serving process keys that live in PKCS#11 tokens: each
// a crypto.Signer that outlives its token's sessions, and proved certificates
// to go with them. It loads no vendor code and reads no PIN; a child process
// does both (package hsm/signer).
//
// # Parts
//
//	Token         one PKCS#11 token, by way of its signer process: starts it,
//	              watches it, starts it again
//	process       one run of the signer process: the socketpair, the calls
//	              under way, its standard error
//	URI           names a key (RFC 7512)
//	Key           a private key in a token, a crypto.Signer
//	Chain         the certificates that are sent, leaf first
//	Pair          a key and its chain, proved to belong together
//	Certificates  the pairs of a site, the choice among them at each handshake
//
// # A signature's way
//
// crypto/tls asks the Certificates of a site for a pair, which comes bound to
// the handshake's context. Its Sign takes a turn (there are as many as the token has
// sessions), finds the live process, sends the digest with a number, and waits
// for the answer with this number, for the end of the handshake, or for the
// sign timeout, whichever is first.
//
// # Who owns what
//
// Token.Run owns the process: it alone starts and replaces it, and when it
// returns, the process is gone. A process owns three goroutines (its reader,
// its watchdog, its exit), which end with it. Token.mu guards the state and the current
// process; process.mu guards the calls under way.
//
// # How it fails
//
// A call without an answer within the sign timeout, an error of class Session
// or Device, a broken frame and the process's death all come to one thing:
// the process is killed and another one is started, at once the first time,
// then with a backoff that grows and jitters. What waits for a signature meanwhile is tried once more
// on the new process if that is already starting, and else fails at once. An
// error of class PIN ends all tries: state locked. An error of class Request is
// the caller's and changes nothing.
package hsm
