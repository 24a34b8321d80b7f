package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ErrBusy: so many signatures wait that another one would, or did, wait in vain.
// Nothing is wrong with the key. It has a method Busy, by which those who do not
// know this package can tell it from a failure.
var ErrBusy error = busyError("too many signatures wait")

// ErrLeft: the client hung up while the signature waited for a session. It was not made. It
// has a method Busy, as ErrBusy has.
var ErrLeft error = busyError("the client has hung up")

type busyError string

func (e busyError) Error() string { return string(e) }
func (busyError) Busy() bool      { return true }

// whyRefused is why a signature got no session.
type whyRefused uint8

const (
	refusedWait     whyRefused = iota // it would have waited too long
	refusedFull                       // too many wait
	refusedTimeout                    // it waited in vain
	refusedLeft                       // its client hung up
	refusedDown                       // the token is down
	refusedCanceled                   // its handshake was given up
	reasons
)

var reasonNames = [reasons]string{
	refusedWait: "wait", refusedFull: "full", refusedTimeout: "timeout",
	refusedLeft: "left", refusedDown: "down", refusedCanceled: "canceled",
}

func (w whyRefused) String() string { return reasonNames[w] }

// refusal is an error of the queue with its reason.
type refusal struct {
	error
	reason whyRefused
}

func (r *refusal) Unwrap() error { return r.error }

func errFull(limit int) error {
	return &refusal{fmt.Errorf("%w (%d)", ErrBusy, limit), refusedFull}
}

func errTooLong(expected, left time.Duration) error {
	return &refusal{
		fmt.Errorf("%w: another one's turn is expected in %s, and has to come within %s",
			ErrBusy, expected.Round(time.Millisecond), left.Round(time.Millisecond)),
		refusedWait,
	}
}

// reasonOf is why take failed with err.
func reasonOf(err error) whyRefused {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r.reason
	case errors.Is(err, ErrLeft):
		return refusedLeft
	case errors.Is(err, context.DeadlineExceeded):
		return refusedTimeout
	case errors.Is(err, context.Canceled):
		return refusedCanceled
	}
	return refusedDown
}

// refusals writes down that signatures were refused because too many wait: a line for all
// of some time, since there may be thousands.
type refusals struct {
	log *slog.Logger

	mu      sync.Mutex
	counts  [refusedTimeout + 1]int
	clients map[client]int
}

const (
	// refusalsEvery is the time from the first refusal to the line that tells of it and of
	// what followed.
	refusalsEvery = 5 * time.Second
	// refusedClients is how many clients are counted apart in that time.
	refusedClients = 1000
)

// note counts a refusal.
func (r *refusals) note(why whyRefused, c client) {
	if int(why) >= len(r.counts) {
		return // not for want of sessions
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clients == nil {
		r.clients = make(map[client]int)
		time.AfterFunc(refusalsEvery, r.write)
	}
	r.counts[why]++
	if _, known := r.clients[c]; known || len(r.clients) < refusedClients {
		r.clients[c]++
	}
}

func (r *refusals) write() {
	r.mu.Lock()
	counts, clients := r.counts, r.clients
	r.counts, r.clients = [refusedTimeout + 1]int{}, nil
	r.mu.Unlock()
	var most client
	for c, n := range clients {
		if n > clients[most] {
			most = c
		}
	}
	attrs := []any{"within", refusalsEvery}
	for why, n := range counts {
		attrs = append(attrs, whyRefused(why).String(), n)
	}
	attrs = append(attrs, "clients", len(clients), "most_of", most.String(), "its", clients[most])
	r.log.Warn("signatures refused: more are wanted than the token makes in time", attrs...)
}
