package http2

// fare is what a client pays for streams that are served at the same time.
//
// A request that waits for its backend takes 12 KiB or more here (a goroutine's
// stack, a record, a connection to the backend), and with HPACK a dozen bytes to send.
// So more than a few streams are served at once only as far as the client has sent
// streamBytes for each. Others wait until one of these has been answered, or the
// client has sent more. It is asked for that, by PINGs, which any client
// answers, so that a stream which waits behind others that do not end, as some
// of gRPC's do not, waits for some round trips and not for ever.
//
// A client that means to use what it asks for hardly notices: its handshake counts,
// which is some KiB of a browser's, streams mostly wait for others that are soon done, and
// what it sends adds up over the connection's life.
type fare struct {
	asked int // PINGs that were not answered yet
	batch int // the PINGs of the last time
}

const (
	freeStreams = 2
	streamBytes = 1280

	pongBytes = headLen + 8
	maxAsked  = 512 // PINGs at a time; some clients take 1000 for a flood
)

// farePing is the data of these PINGs.
var farePing = [8]byte{'f', 'a', 'r', 'e'}

// affordable is how many streams may be served at once. It is for the reader.
func (c *ServerConn) affordable() int {
	return int(min(int64(c.cfg.MaxStreams), freeStreams+c.in.total/streamBytes))
}

// ask asks the client to send what the streams that wait lack, the more the
// more often it has done so. mu is held.
func (c *ServerConn) ask() {
	f, w := &c.fare, &c.workers
	waiting := min(len(w.queue), c.cfg.MaxStreams-w.n)
	if f.asked > 0 || waiting <= 0 || c.closing {
		return
	}
	const each = (streamBytes + pongBytes - 1) / pongBytes
	f.batch = min(max(2*f.batch, each), waiting*each, maxAsked)
	for range f.batch {
		c.out.pending = appendPing(c.out.room(pongBytes), 0, farePing)
	}
	f.asked = f.batch
	c.flushSoon()
}

// paid takes the answer to such a PING: with the last of them some that wait
// are served. mu is held.
func (c *ServerConn) paid() {
	f := &c.fare
	if f.asked == 0 {
		return
	}
	c.free.earn(costFrame) // it was asked for
	if f.asked--; f.asked > 0 {
		return
	}
	c.startQueued()
	c.ask()
}
