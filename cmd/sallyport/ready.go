package main

import (
	"errors"
	"fmt"
)

// ready returns nil when every site can make full handshakes, and else which
// ones cannot and why. Open connections and resumed sessions go on meanwhile.
func (s *service) ready() error {
	var errs []error
	for i, certificates := range s.sites {
		if err := certificates.Ready(); err != nil {
			errs = append(errs, fmt.Errorf("site %q: %w", s.config.Sites[i].Name, err))
		}
	}
	return errors.Join(errs...)
}
