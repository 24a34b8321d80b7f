package hsm

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"

	"sallyport/hsm/wire"
)

// record is how the signatures of a process have gone. A device that fails now and
// then still serves: its signatures are made again, and the process is replaced only
// where failing is the rule.
type record struct {
	mu     sync.Mutex
	good   int    // signatures made
	bad    int    // and not made, for which the device is to blame
	inRow  int    // of these since the last good one
	recent uint32 // the last ones, the latest in the lowest bit; 1: not made
}

const (
	// So many failures in a row are not chance where most signatures are made, and no
	// more than a signature is tried at one process.
	mostInRow = 3
	// mostRecent of the last 32 signatures: failing is the rule without being the rule
	// without exception.
	mostRecent = 16

	// fairGood signatures tell that a process was worth to be started.
	fairGood = 32
)

func (r *record) made() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.good++
	r.inRow = 0
	r.recent <<= 1
}

// failed reports whether failing is the rule.
func (r *record) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad++
	r.inRow++
	r.recent = r.recent<<1 | 1
	return r.inRow >= mostInRow || bits.OnesCount32(r.recent) >= mostRecent
}

// fair reports whether the process has made signatures, and most that it was asked for.
func (r *record) fair() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.good >= fairGood && r.good > 4*r.bad
}

// lasting are the return values by which a device says that it is not there, which
// the next call will not change (PKCS#11 v2.40 §5.1.6): CKR_DEVICE_REMOVED,
// CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED, CKR_CRYPTOKI_NOT_INITIALIZED.
var lasting = []uint64{0x32, 0xe0, 0xe1, 0x190}

// mayPass reports whether what failed may succeed when it is tried again at the same
// process.
func mayPass(err error) bool {
	var f *wire.Failure
	return errors.As(err, &f) && f.Class == wire.Device && f.Code != 0 && !slices.Contains(lasting, f.Code)
}

// hiccups are a token's failures that were got over.
type hiccups struct {
	mu    sync.Mutex
	count int // since the last word of them
	told  time.Time
}

// hiccupsEvery is the time between two lines of log about such failures.
const hiccupsEvery = time.Minute

// noteHiccup keeps a failure that does not end its process for Status, and logs it
// from time to time.
func (t *Token) noteHiccup(err error) {
	t.mu.Lock()
	t.note(fmt.Errorf("a signature failed, and is tried again: %w", err))
	t.mu.Unlock()
	h := &t.hiccups
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	if now := time.Now(); now.Sub(h.told) >= hiccupsEvery {
		t.log.Warn("signatures fail now and then, and are tried again", "failed", h.count, "error", err)
		h.count, h.told = 0, now
	}
}
