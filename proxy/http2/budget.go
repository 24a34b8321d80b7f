package http2

import (
	"time"

	"golang.org/x/net/http2"
)

// budget bounds what a peer makes this end do for nothing. What costs work
// and brings nobody forward is charged; what is done for a request earns, and so
// does time. A peer without budget gets GOAWAY with ENHANCE_YOUR_CALM.
//
// It covers floods of PING, SETTINGS, PRIORITY, small WINDOW_UPDATEs, empty
// frames and unknown ones, of streams that are reset by the peer, refused, or
// made to be reset by a fault in them, and windows that open byte by byte.
//
// Streams that were begun in vain are also what an honest client has where its calls
// have deadlines and a backend is slow, and healthy streams beside them. So where these
// have used up most of the budget the connection takes no more streams, and those under way go
// on; only what still comes then ends it.
type budget struct {
	left   int32
	inVain int32 // of what is spent, by streams that were begun in vain
	at     int64 // when time was last earned
	warned bool  // the peer was told to begin no more streams
}

const (
	budgetMax       = 2000
	budgetPerSecond = 200

	costFrame = 1 // a frame that has to be answered, or does nothing
	costReset = 4 // a stream that was begun in vain, and soon given up
	earnDone  = 4 // a stream that was answered
	earnData  = 1 // a frame of a body that came
	earnSent  = 3 // one that went, for which the peer may open two windows and, as gRPC's do, send a PING
)

const (
	codeCalm            = http2.ErrCodeEnhanceYourCalm
	codeSettingsTimeout = http2.ErrCodeSettingsTimeout
)

func (b *budget) init() { b.left = budgetMax }

func (b *budget) earn(n int32) {
	b.left = min(b.left+n, budgetMax)
	b.inVain = max(b.inVain-n, 0)
}

// charge takes n, and looks at the clock only when nothing is left.
func (b *budget) charge(n int32) error {
	if b.left -= n; b.left >= 0 {
		return nil
	}
	t := now()
	earned := (t - b.at) / (1e9 / budgetPerSecond)
	b.at = t
	b.earn(int32(min(earned, budgetMax)))
	if b.left >= 0 {
		return nil
	}
	return &ConnError{codeCalm, "too much for nothing"}
}

// vain charges n for a stream that was begun in vain. mu is held.
func (c *conn) vain(n int32) error {
	c.free.inVain = min(c.free.inVain+n, budgetMax)
	return c.spend(n)
}

// spend charges n. Where nothing is left for streams begun in vain, the peer is told to begin
// no more, whatever it is that is charged now. mu is held.
func (c *conn) spend(n int32) error {
	err := c.free.charge(n)
	if err == nil || c.free.warned || c.free.inVain < budgetMax/2 {
		return err
	}
	c.free.warned = true
	c.free.left = budgetMax // for what is on its way
	c.role.calm()
	return nil
}

// patient is how long a client has waited that gives up a stream and has it cost no more
// than its frame: the bound on streams at once makes such ones few. What an attacker
// gains by resetting streams is that they do not count against that bound.
const patient = int64(500 * time.Millisecond)

// givenUp is what it costs a client to reset s. mu is held.
func (s *stream) givenUp() int32 {
	if s.headSent || s.localEnded || now()-s.begun >= patient {
		return costFrame
	}
	return costReset
}
