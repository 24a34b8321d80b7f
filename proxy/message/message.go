package message

// Unknown is the Length of a body that ends when it ends.
const Unknown = -1

// Request is a request's head.
type Request struct {
	Method    []byte
	Authority []byte // of Host or :authority, "" where HTTP/1.0 has none
	Path      []byte // path and query as they came, "*" for OPTIONS *; never "" but for a CONNECT
	Protocol  []byte // what the client wants to switch to, in lower case ("websocket"); "" mostly (RFC 9110 §7.8, RFC 8441 §4)
	Fields    []Field
	Named     []Field // HTTP/1: those that Connection names and takes away

	Length    int64 // of the body: 0 is none, Unknown where it is not known
	Expects   bool  // Expect: 100-continue: the body waits for the word
	Trailers  bool  // TE: trailers: the client takes trailer fields
	Major     uint8 // the protocol it came by: 1 or 2
	Minor     uint8
	LastOfOne bool // HTTP/1: the connection ends with this exchange
}

// Response is an answer's head.
type Response struct {
	Status   int    // 100 to 999; above 599 the class is unknown (RFC 9110 §15)
	Reason   []byte // HTTP/1 only, may be ""
	Protocol []byte // of a 101, in lower case
	Fields   []Field

	// Length is the body's. An answer to HEAD, and a 304, may tell the length
	// of a body that does not come: Bodiless is true then, as it is for 1xx and 204.
	Length   int64
	Bodiless bool
}

// Body is a message's body on its way in. It is for one goroutine at a time.
type Body interface {
	// Read gives what is there. io.EOF comes once the body is whole and only
	// then, and never together with bytes; any other error means that its
	// sender broke it, or was too slow (an error with Timeout() true).
	Read(p []byte) (int, error)
	// Trailers are the trailer fields, end to end as all Fields, once Read
	// has returned io.EOF.
	Trailers() []Field
}

// Sender is a message on its way out. It is for one goroutine at a time. An
// error of it means that the peer is gone or reads too slowly (Timeout() true);
// the message is lost then.
type Sender interface {
	// WriteBody sends, or keeps for a moment, a part of the body. With flush
	// all that has been kept leaves at once. More or fewer bytes than the
	// head's Length are an error.
	WriteBody(p []byte, flush bool) error
	// End ends the body. It is not called after a head with end true.
	//
	// Trailer fields go where there is room for them: behind any body with HTTP/2, and
	// with HTTP/1.1 behind one that is chunked. They are dropped without an error where
	// it is not, because its head told a Length or the peer speaks HTTP/1.0. Nobody
	// asks here whether the peer has said that it takes them (Request.Trailers): one that
	// does not ignores them (RFC 9110 §6.5.1). Those of the framing, as Content-Length, are
	// an error with HTTP/1.1, and must not be given to HTTP/2. A tunnel has none: nil.
	End(trailers []Field) error
}

// Exchange is a client's request and the way to answer it.
//
// After a 101 (HTTP/1.1) or a 2xx to an extended CONNECT (HTTP/2) it is a tunnel: Body reads
// what the client sends until it sends no more, WriteBody what it shall get, and End
// says that nothing more comes.
type Exchange interface {
	Request() *Request
	// Body is the request's, also where there is none. It may be read by
	// another goroutine than the one that answers. The first Read of a body that waits
	// for 100 (Continue) sends that, unless a final head was sent before. Once
	// the answer is whole nobody needs the rest: a Read that waits for it fails.
	Body() Body
	// WriteHead sends a head: any number of 1xx, then one more. end says that
	// no body follows.
	WriteHead(r *Response, end bool) error
	Sender
	// Reset breaks the answer off, so that its client cannot take half of it
	// for the whole. It may be called by any goroutine, and wakes those that
	// are in other methods.
	Reset()
	// OnGone has f called, once and by some other goroutine, when the client
	// gives the exchange up while nobody reads from it. nil takes the last f away:
	// it does not run any more then.
	OnGone(f func())
}

// Call is a request to a backend and the way to its answer. An upgrade makes a
// tunnel of it as of an Exchange.
type Call interface {
	// WriteHead sends the request's head. end says that no body follows.
	WriteHead(r *Request, end bool) error
	Sender
	// ReadHead reads the next head of the answer: any number of 1xx, then one more.
	// Its slices are valid until the next one is read.
	ReadHead() (*Response, error)
	// Body is the answer's.
	Body() Body
	// Close ends the call. A connection that can serve another one goes on
	// doing so; one where something is left over is closed. Any goroutine may
	// call it, more than once.
	Close()
}
