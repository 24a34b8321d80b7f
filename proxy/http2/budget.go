package http2

import "golang.org/x/net/http2"

// budget bounds what a peer makes this end do for nothing. What costs work
// and brings nobody forward is charged; what is done for a request earns, and so
// does time. A peer without budget gets GOAWAY with ENHANCE_YOUR_CALM.
//
// It covers floods of PING, SETTINGS, PRIORITY, small WINDOW_UPDATEs, empty
// frames and unknown ones, of streams that are reset by the peer, refused, or
// made to be reset by a fault in them, and windows that open byte by byte.
type budget struct {
	left int32
	at   int64 // when time was last earned
}

const (
	budgetMax       = 2000
	budgetPerSecond = 200

	costFrame = 1 // a frame that has to be answered, or does nothing
	costReset = 4 // a stream that was begun in vain
	earnDone  = 4 // a stream that was answered
	earnData  = 1 // a frame of a body that came
	earnSent  = 3 // one that went, for which the peer may open two windows and, as gRPC's do, send a PING
)

const (
	codeCalm            = http2.ErrCodeEnhanceYourCalm
	codeSettingsTimeout = http2.ErrCodeSettingsTimeout
)

func (b *budget) init() { b.left = budgetMax }

func (b *budget) earn(n int32) { b.left = min(b.left+n, budgetMax) }

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
