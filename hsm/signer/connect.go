package signer

import "sallyport/hsm/wire"

// connect initialises the module and finds the token that s selects. It needs
// no PIN and gives none: a PIN must go to no other token than the one that was meant.
//
// Libraries exist that cannot be initialised twice in a process, so it is done
// once, and stays so until the process ends.
func connect(s wire.Settings) (*openToken, error) {
	m, err := loadModule(s.Module)
	if err != nil {
		return nil, err
	}
	if err := m.initialise(); err != nil {
		return nil, err
	}
	all, unread, err := m.tokens()
	if err != nil {
		return nil, err
	}
	o := &openToken{module: m, few: fewObjects}
	o.token, err = choose(all, unread, s)
	return o, err
}
