package message

import (
	"sync/atomic"
	"time"
)

// date is the last one that Now made.
var date atomic.Pointer[dateOfSecond]

type dateOfSecond struct {
	second int64
	text   []byte
}

// Now is the value of a Date field (RFC 9110 §5.6.7). It is made once a second and
// must not be changed.
func Now() []byte {
	now := time.Now()
	if d := date.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &dateOfSecond{now.Unix(), now.UTC().AppendFormat(nil, "Mon, 02 Jan 2006 15:04:05 GMT")}
	date.Store(d)
	return d.text
}
