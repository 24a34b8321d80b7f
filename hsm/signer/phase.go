package signer

import (
	"fmt"
	"slices"

	"sallyport/hsm/wire"
)

// phase is how far the signer has come.
type phase uint32

const (
	fresh     phase = iota // nothing was asked yet
	opening                // Open is under way
	serving                // the token is open, for the keys that the configuration names
	examining              // it is open for sallyport doctor, which looks at all there is
	spent                  // Slots was asked, or Open has failed
)

// permitted is all that the serving process may ask, by phase: so a module is loaded
// once, a token opened once, and what may be signed with is settled before the first
// client comes. Whatever else is asked ends this process.
var permitted = [...][]wire.Kind{
	fresh:     {wire.Slots, wire.Open},
	opening:   {},
	serving:   {wire.List, wire.Sign},
	examining: {wire.List, wire.Sign, wire.Examine, wire.Secrets},
	spent:     {},
}

// permit says why a question may not be asked now, and moves on by those that may be
// asked once.
func (s *signer) permit(k wire.Kind) error {
	now := phase(s.phase.Load())
	if !slices.Contains(permitted[now], k) {
		return fmt.Errorf("%w: %s is not permitted now (phase %d)", wire.ErrFrame, k, now)
	}
	switch k {
	case wire.Slots:
		s.phase.Store(uint32(spent))
	case wire.Open:
		s.phase.Store(uint32(opening))
	}
	return nil
}

// opened ends the phase of an Open.
func (s *signer) opened(settings wire.Settings, err error) {
	to := serving
	switch {
	case err != nil:
		to = spent
	case settings.Examining:
		to = examining
	}
	s.phase.Store(uint32(to))
}
