package proxy

import (
	"errors"
	"strconv"
	"time"
)

// HSTS is a site's Strict-Transport-Security (RFC 6797): for how long browsers
// shall not ask for its names in any other way. It takes the place of what backends
// say. Browsers remember it: turning it off is a MaxAge of 0, not a nil *HSTS.
type HSTS struct {
	MaxAge            time.Duration // whole seconds
	IncludeSubdomains bool
	Preload           bool // agrees to a place in browsers' lists, which is hard to leave
}

// preloadAge is the least that those lists ask for.
const preloadAge = 365 * 24 * time.Hour

func (h *HSTS) check() error {
	switch {
	case h == nil:
		return nil
	case h.MaxAge < 0:
		return errors.New("HSTS with a negative age")
	case h.Preload && (!h.IncludeSubdomains || h.MaxAge < preloadAge):
		return errors.New("HSTS with preload is for subdomains too, and for a year at least")
	}
	return nil
}

// value is the field's, nil where there is none.
func (h *HSTS) value() []byte {
	if h == nil {
		return nil
	}
	b := strconv.AppendInt([]byte("max-age="), int64(h.MaxAge/time.Second), 10)
	if h.IncludeSubdomains {
		b = append(b, "; includeSubDomains"...)
	}
	if h.Preload {
		b = append(b, "; preload"...)
	}
	return b
}
