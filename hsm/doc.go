// Package hsm gives the serving process keys that live in PKCS#11 tokens: each
// a crypto.Signer that outlives its token's sessions, and proved certificates
// to go with them. It loads no vendor code and reads no PIN; a child process
// does both (package hsm/signer). A PIN that was in the environment is passed on
// to it in a sealed memory file, unread.
//
// # Parts
//
//	Token         one PKCS#11 token, by way of its signer processes; its state. sign.go
//	              is a try at a signature, login.go what is known of its PIN
//	supervisor    keeps one of these processes running
//	process       one run of a signer process: the socketpair, the calls under
//	              way, its standard error
//	queue         hands out the processes' sessions: to ECDSA and RSA by weight, and
//	              within each to clients in turns (turns.go); whose turn would come
//	              too late is refused (flow.go), which is counted and logged (refusal.go)
//	record        how the signatures of a process have gone
//	distrust      what is held against a token that gave a wrong signature
//	pace          how fast the token has been of late
//	URI           names keys (RFC 7512)
//	Key           a private key, on one token or several; a crypto.Signer
//	Chain         the certificates that are sent, leaf first; from the token, or
//	              from a file of which every line is accounted for (chainfile.go)
//	bare key      a private key whose public half is in its certificate alone
//	              (barekey.go)
//	Pair          a key and its chain, proved to belong together
//	Certificates  the pairs of a site, the choice among them at each handshake
//	Keyring       keeps the Certificates in step with what the tokens hold
//	Ability       what a key can really do on one token (doctor asks for it)
//	Load          how a key signs with many signatures at once (as well)
//	Change        what a look at the tokens has altered, for log and operator
//	TokenStatus, EntryStatus  snapshots for the admin side
//
// # A signature's way
//
// crypto/tls asks the Certificates of a site for a pair, which comes bound to
// the handshake's context. Its Sign chooses among the live tokens that hold the
// key, takes a session from the token's queue, sends the digest to the
// session's process with a number, and waits for the answer with this number,
// for the end of the handshake, or for the sign timeout, whichever is first. It
// waits for a session as long while none comes free, and twice as long while
// others get theirs. Meanwhile nobody reads from the client: the queue asks the
// connection whether it is still there before it spends a signature on it.
//
// A try that is lost with its process or token is made once more elsewhere, and
// once more again if less than the sign timeout has passed since the first: that
// is for two processes that end in the same moment, and bounds what a signature
// that kills its process can do. What one process refuses is asked of another
// one of the token too, since each knows the keys of the time when it read them.
// A handshake that has waited a sign timeout in vain is not held up for another
// one where its site has a second key: the proxy makes it again with that.
//
// # Who owns what
//
// Token.Run owns the supervisors, a goroutine each, and returns when they and
// their processes are gone. A supervisor alone starts and replaces its process.
// A process owns four goroutines (its reader, its watchdog, its exit, and the
// wait to kill it), which end with it. Keyring.Run is the one goroutine that
// changes what sites serve; handshakes read that behind an atomic pointer. Each
// token is read by a goroutine of its own, which Run waits for at its end: what one
// holds goes live when it has been read, whatever another one does (rounds.go).
//
// Token.mu guards state, phases and inventory; queue.mu sessions and waiters;
// process.mu the calls under way; Keyring.mu the proofs, and Keyring.asking who
// waits for the next reading. They are taken in the
// order Keyring, Token, queue; a process's is never held while another is taken.
//
// # How it fails
//
// An error of class Device, unless it says that the device is gone, may be one of
// few: the signature is made again at once at any session of the token, and the
// process is replaced when that is the rule (record.go). A signature without an
// answer within the sign timeout, and an error of class Session, condemn the
// process: it gets nothing new, a successor is
// started at once, and it is ended when what it still does is done or the sign
// timeout has passed. Its death and a broken frame end it at once. A successor
// makes a test signature, with the key that signed last, before it gets work.
// When successors fail too, further ones come with a backoff that grows to some
// seconds and jitters, and what asks for a signature meanwhile fails at once.
//
// A signature that the signer process finds wrong (class Wrong) does not leave it: it
// verifies each by RSA, and those by ECDSA by sample. By a key that has
// given right ones, it puts the whole token down: all its processes are condemned, the
// log, the state's reason and a metric say so, and handshakes are made with what other
// tokens hold or fail. The token is left alone for a pause that doubles from 5 s to 5
// minutes with each wrong signature within an hour, and comes back when a new process
// has made 64 right ones in a row of what was answered wrong; for that hour each
// signature is verified (distrust.go). A key that never gave a right one has a
// stranger's public half, and is unfit; so is one that gives none when it has to make
// amends, whose private half was replaced, and then its token comes back without it.
//
// A refused login locks the token until Unlock, and so do two in a row that
// ended without an answer. A token that was never up is worth waiting for only
// while it is Absent. An error of class Request is
// the caller's and changes nothing. A pair whose signature failed comes after
// all others for a while, and has the tokens read anew. A certificate that
// expires, or whose key is gone, is kept in use for want of a better one, and
// comes after those of other entries.
//
// A panic while a site is looked at, or a token is read, costs that site or token its
// turn, and one in what a signer process says ends that process (panic.go).
package hsm
