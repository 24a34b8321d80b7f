package http2

import (
	"time"

	"sallyport/proxy/message"
)

// Config says what a connection allows its peer. The zero value of each setting
// takes the default that is named beside it.
type Config struct {
	// Secure is true under TLS: a request's :scheme must be https then, and one of http
	// is answered with 421; otherwise it may be both. Only a server looks at it.
	Secure bool

	// Refused is told of each request that no handler sees: with what it was
	// answered, 429 standing for one beyond MaxStreams, whose stream was reset, and a reason
	// that holds nothing of what the client sent. nil: nobody. Only a server calls it, while
	// Run lasts.
	// r is what was read of the request: its method, authority and path may hold any octets.
	Refused func(r *message.Request, status int, reason string)

	// Panicked is told of each panic in what works for the connection, from the
	// deferred function that has recovered it. The connection ends with INTERNAL_ERROR
	// then. nil: none is recovered.
	Panicked func(value any)

	// Memory is what a server's client holds of the process's memory. nil: as much
	// as it likes. Calls have their own (Call.ChargeTo).
	Memory Memory

	MaxStreams     int // that a client may have open at once: 100
	MaxHeaderBytes int // of a head, as HTTP/1.1 would send it, and of trailers: 64 KiB
	MaxFields      int // lines of a field section, a cookie in crumbs being one: 100

	// Underscores lets field names with underscores through; some backends
	// take them for dashes. Only a server looks at it.
	Underscores bool

	Header time.Duration // for the preface, the first SETTINGS, its acknowledgement, and a field section once begun: 60 s
	Read   time.Duration // for progress of a body that somebody waits for, but not of a tunnel: 60 s; only a server's
	Write  time.Duration // for progress of what the peer shall read: 60 s
	Idle   time.Duration // without a stream: a server's 75 s; a client's none
	Ping   time.Duration // a peer that is silent for so long beside a stream is asked whether it is alive, and has as long again: a server\'s 60 s; a client\'s 15 s
	Look   time.Duration // a client's call waits so long to be read from before it says ErrNothing: for ever
}

// What both ends allow without being asked.
const (
	streamWindow = 256 << 10 // a stream's window to begin with (window.go)
	connWindow   = 1 << 20   // a connection's
	maxPending   = 64 << 10  // what may wait for the peer to read before senders wait
	maxTable     = 4 << 10   // HPACK's dynamic table for what the peer sends
	maxJoined    = 512 << 10 // cookies of all streams of a connection that came in crumbs, which may come from that table
)

const (
	defaultMaxStreams     = 100
	defaultMaxHeaderBytes = 64 << 10
	defaultMaxFields      = 100
	defaultHeader         = time.Minute
	defaultProgress       = time.Minute
	defaultIdle           = 75 * time.Second
	defaultServerPing     = time.Minute
	defaultPing           = 15 * time.Second
)

// forServer and forClient fill in what is not set.
func (c Config) forServer() Config {
	c = c.forBoth()
	setDefault(&c.Read, defaultProgress)
	setDefault(&c.Idle, defaultIdle)
	setDefault(&c.Ping, defaultServerPing)
	c.Look = 0
	return c
}

func (c Config) forClient() Config {
	c = c.forBoth()
	c.Read = 0
	setDefault(&c.Ping, defaultPing)
	c.Underscores = true
	return c
}

func (c Config) forBoth() Config {
	if c.Memory == nil {
		c.Memory = plenty{}
	}
	setDefault(&c.MaxStreams, defaultMaxStreams)
	setDefault(&c.MaxHeaderBytes, defaultMaxHeaderBytes)
	setDefault(&c.MaxFields, defaultMaxFields)
	setDefault(&c.Header, defaultHeader)
	setDefault(&c.Write, defaultProgress)
	return c
}

func setDefault[T int | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// maxSection is how long a field section may be on the wire. One that is beyond the limits is
// decoded to its end and dropped, so that HPACK's state holds and only the stream ends; one that
// is beyond this ends the connection.
func (c *Config) maxSection() int { return max(1<<20, 2*c.MaxHeaderBytes) }

// listSize is what SETTINGS_MAX_HEADER_LIST_SIZE says. It counts 32 bytes more for each
// line (RFC 9113 §6.5.2), and is no limit beside the others.
func (c *Config) listSize() uint32 { return uint32(c.MaxHeaderBytes + 32*c.MaxFields) }
